"""Operations without parameters: convolutions, filters, sampling."""
