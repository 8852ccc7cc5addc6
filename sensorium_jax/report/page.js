"use strict";

// A figure as a file of its own: the colors of the page become those on white.
function save(button) {
  const svg = button.closest("figure").querySelector("svg").cloneNode(true);
  const [, , width, height] = svg.getAttribute("viewBox").split(" ");
  svg.setAttribute("width", `${width}pt`);
  svg.setAttribute("height", `${height}pt`);
  const words = new XMLSerializer()
    .serializeToString(svg)
    .replace(/var\(--[a-z]+, (#[0-9a-f]{6})\)/g, "$1");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([words], { type: "image/svg+xml" }));
  link.download = button.dataset.save;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

for (const button of document.querySelectorAll("[data-save]")) {
  button.hidden = false;
  button.addEventListener("click", () => save(button));
}

function player(root) {
  const number = (name) => Number(root.dataset[name]);
  const frames = number("frames"), columns = number("columns"), lines = number("lines");
  const left = number("left"), right = number("right");
  const film = root.querySelector(".film"), head = root.querySelector(".head");
  const slider = root.querySelector("input"), told = root.querySelector("output");
  const play = root.querySelector(".play");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let at = 0, timer = null;

  function show(frame) {
    at = frame;
    const x = columns > 1 ? (frame % columns) / (columns - 1) : 0;
    const y = lines > 1 ? Math.floor(frame / columns) / (lines - 1) : 0;
    film.style.backgroundPosition = `${100 * x}% ${100 * y}%`;
    head.style.left = `${100 * (left + ((right - left) * (frame + 0.5)) / frames)}%`;
    slider.value = frame;
    const second = (frame / number("rate")).toFixed(2);
    const when = root.dataset.unit === "seconds" ? `, ${second} s` : "";
    const words = `frame ${frame + 1} of ${frames}${when}`;
    slider.setAttribute("aria-valuetext", words);
    told.textContent = words;
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  play.addEventListener("click", () => {
    if (timer !== null) return stop();
    play.textContent = "Pause";
    timer = setInterval(() => show((at + 1) % frames), 1000 / number("pace"));
  });
  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
  });
  still.addEventListener("change", stop);
  root.querySelector(".controls").hidden = false;
  show(0);
}

document.querySelectorAll(".player").forEach(player);
