"use strict";
// node look.js CHROMIUM PAGE FOLDER: opens a page at two widths and in both schemes,
// keeps screenshots in the folder, and prints what is wrong, as JSON.
const fs = require("fs");
const puppeteer = require("puppeteer-core");

const WIDTHS = [360, 1200], SCHEMES = ["light", "dark"];

// Words that are cut off by their drawing or lie over others; how small words are.
function words() {
  const bad = [];
  let smallest = Infinity;
  for (const svg of document.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect();
    const scale = frame.width / svg.viewBox.baseVal.width;
    const boxes = [...svg.querySelectorAll("text")].map((text) => {
      smallest = Math.min(smallest, parseFloat(getComputedStyle(text).fontSize) * scale);
      return [text.textContent.trim(), text.getBoundingClientRect()];
    });
    boxes.forEach(([one, a], i) => {
      if (a.left < frame.left - 2 || a.right > frame.right + 2 ||
          a.top < frame.top - 2 || a.bottom > frame.bottom + 2) bad.push(`cut off: ${one}`);
      for (const [other, b] of boxes.slice(0, i)) {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 2 && high > 3) bad.push(`${one} over ${other}`);
      }
    });
  }
  return { bad, smallest };
}

async function look(browser, path, folder, width, scheme) {
  const page = await browser.newPage();
  const said = [];
  page.on("console", (message) => said.push(message.text()));
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("request", (request) => {
    if (/^(https?|ws):/.test(request.url())) said.push(`asked for ${request.url()}`);
  });
  await page.setViewport({ width, height: 800 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(`file://${path}`);
  await page.screenshot({ path: `${folder}/${width}-${scheme}.png`, fullPage: true });
  const found = await page.evaluate(words);
  found.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  found.played = await played(page);
  found.saved = await saved(page);
  found.still = await still(page);
  await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
  // The page's policy lets no other script run but by the browser itself.
  await page.evaluate(fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8") + ";0");
  found.violations = await page.evaluate(async () =>
    (await axe.run()).violations.map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 200)}`));
  found.overflow = Math.max(found.overflow,
    await page.evaluate(() => document.documentElement.scrollWidth - innerWidth));
  found.said = said;
  await page.close();
  return found;
}

// Whether the clip moves once it is asked to, by the keyboard, and stops again.
async function played(page) {
  if (!(await page.$(".player"))) return null;
  const at = () => page.$eval(".player input", (slider) => Number(slider.value));
  const before = await at();
  await page.focus(".player .play");
  await page.keyboard.press("Enter");
  await new Promise((done) => setTimeout(done, 1200));
  await page.keyboard.press("Enter");
  const after = await at();
  await new Promise((done) => setTimeout(done, 600));
  await page.focus(".player input");
  await page.keyboard.press("ArrowRight");
  return before === 0 && after > 0 && (await at()) === after + 1;
}

// The first figure as a file: it holds no variable of the page.
async function saved(page) {
  return page.evaluate(async () => {
    const made = [], create = URL.createObjectURL;
    URL.createObjectURL = (blob) => (made.push(blob), create.call(URL, blob));
    HTMLAnchorElement.prototype.click = () => {};
    document.querySelector("[data-save]").click();
    const words = await made[0].text();
    const parsed = new DOMParser().parseFromString(words, "image/svg+xml");
    return !words.includes("var(") && parsed.documentElement.nodeName === "svg";
  });
}

// Whether nothing can be made to move where reduced motion is asked for.
async function still(page) {
  if (!(await page.$(".player"))) return null;
  await page.emulateMediaFeatures([{ name: "prefers-reduced-motion", value: "reduce" }]);
  return page.$eval(".play", (play) => getComputedStyle(play).display === "none");
}

(async () => {
  const [chromium, path, folder] = process.argv.slice(2);
  const args = ["--no-sandbox", "--disable-gpu"];
  const browser = await puppeteer.launch({ executablePath: chromium, args, protocolTimeout: 300000 });
  const found = {};
  for (const width of WIDTHS)
    for (const scheme of SCHEMES)
      found[`${width} ${scheme}`] = await look(browser, path, folder, width, scheme);
  await browser.close();
  console.log(JSON.stringify(found));
})();
