"use strict";
// What the page does beyond being read: tables sort, filter and save themselves, figures enlarge and save themselves,
// and everything is open while it is printed. Nothing is fetched; what is saved is already in the page.

const FORMULA = /^[=+\-@\t\r]/; // what opens a formula in a spreadsheet
const NUMBER = /^[^\d+-]{0,12}([+-]?\d[\d ]*(?:\.\d+)?(?:e[+-]?\d+)?)/; // a few words may stand before: "already at 1 %"

const element = (name, properties = {}) => Object.assign(document.createElement(name), properties);

function button(words, label, action) {
  const made = element("button", { type: "button", textContent: words, onclick: action });
  made.setAttribute("aria-label", label);
  return made;
}

function save(name, address) {
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

function saveText(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  save(name, address);
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

const fileName = (words) => words.replace(/[^\w]+/g, "_").replace(/^_+|_+$/g, "").toLowerCase() || "table";

// --- tables

const plain = (cell) => cell.textContent.replace(/\s+/g, " ").trim();

function numberIn(text) {
  const found = text.replace(/−/g, "-").replace(/(\d)\s(?=\d)/g, "$1").match(NUMBER);
  return found ? parseFloat(found[1].replace(/ /g, "")) : NaN;
}

function csvOf(table) {
  const cell = (text) => {
    const bare = text.replace(/^\+(?=\d)/, "");
    const safe = FORMULA.test(bare) && !/^-[\d.]+(e[+-]?\d+)?$/.test(bare) ? `'${bare}` : bare;
    return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  };
  const heads = [...table.tHead.rows[0].cells].map((head) => head.dataset.name);
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(plain));
  const told = rows.map((row) => row.map((text) => text.replace(/−/g, "-")));
  return [heads, ...told].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const rising = head.getAttribute("aria-sort") === "ascending" ? false
    : head.getAttribute("aria-sort") === "descending" ? true : !head.classList.contains("n");
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: plain(row.cells[column]) }));
  const values = rows.map((item) => ({ ...item, value: numberIn(item.text) }));
  const numeric = values.some((item) => !isNaN(item.value)) && head.classList.contains("n");
  values.sort((a, b) => {
    if (!numeric) return (rising ? 1 : -1) * a.text.localeCompare(b.text, undefined, { numeric: true });
    if (isNaN(a.value) || isNaN(b.value)) return isNaN(a.value) - isNaN(b.value); // empty places last, either way
    return (rising ? 1 : -1) * (a.value - b.value);
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  table.tBodies[0].append(...values.map((item) => item.row));
}

function filterBy(table, words, told) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = plain(row).toLowerCase();
    row.hidden = !wanted.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  told.textContent = wanted.length ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
}

for (const box of document.querySelectorAll(".tab")) {
  const table = box.querySelector("table");
  const tools = element("div", { className: "tools" });
  for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
    head.dataset.name = plain(head);
    if (table.tBodies[0].rows.length < 2) continue;
    const sorter = element("button", { type: "button", textContent: head.textContent.trim(), onclick: () => sortBy(table, column) });
    head.replaceChildren(sorter);
  }
  if (table.tBodies[0].rows.length > 5) {
    const filter = element("input", { type: "search", placeholder: "Filter rows" });
    filter.setAttribute("aria-label", `Filter rows: ${box.dataset.name}`);
    const told = element("span");
    told.setAttribute("role", "status");
    filter.addEventListener("input", () => filterBy(table, filter.value, told));
    tools.append(filter, told);
  }
  const name = `${fileName(box.dataset.name)}.csv`;
  tools.append(button("CSV", `Save as CSV: ${box.dataset.name}`, () => saveText(name, csvOf(table), "text/csv")));
  box.prepend(tools);
}

// --- figures

function saversOf(figure) {
  const image = figure.querySelector("img");
  const title = figure.querySelector("figcaption b").textContent.replace(/\.$/, "");
  const kind = image.src.startsWith("data:image/svg") ? "SVG" : image.src.startsWith("data:image/jpeg") ? "JPEG" : "PNG";
  const name = figure.dataset.name;
  const ending = { SVG: "svg", JPEG: "jpg", PNG: "png" }[kind];
  const made = [button(kind, `Save as ${kind}: ${title}`, () => save(`${name}.${ending}`, image.src))];
  const source = document.getElementById(figure.dataset.csv || "");
  if (source) {
    const file = `${figure.dataset.csv.slice(4)}.csv`;
    made.push(button("CSV", `Save the numbers as CSV: ${title}`, () => saveText(file, source.content.textContent, "text/csv")));
  }
  return made;
}

const large = document.getElementById("large");
let opener = null;

function enlarge(figure) {
  opener = document.activeElement;
  const image = figure.querySelector("img");
  const copy = element("img", { src: image.src, alt: image.alt, className: "fit" });
  const whole = Number(image.getAttribute("width"));
  const size = button("Larger", "Larger, to be scrolled", () => {
    const fits = copy.classList.toggle("fit");
    copy.style.width = fits ? "" : `${Math.max(whole * 1.5, large.clientWidth * 1.4)}px`;
    size.textContent = fits ? "Larger" : "Fit";
    size.setAttribute("aria-label", fits ? "Larger, to be scrolled" : "Fit into the window");
  });
  const close = button("Close", "Close the figure", () => large.close());
  large.querySelector("h2").textContent = figure.querySelector("figcaption b").textContent;
  large.querySelector(".tools").replaceChildren(size, ...saversOf(figure), close);
  large.querySelector(".scroll").replaceChildren(copy);
  large.querySelector(".note").textContent = figure.querySelector("figcaption").textContent;
  large.showModal();
  close.focus();
}

large.addEventListener("click", (event) => {
  if (event.target === large) large.close();
});
large.addEventListener("close", () => {
  large.querySelector(".scroll").replaceChildren();
  if (opener) opener.focus({ preventScroll: true });
  opener = null;
});

for (const figure of document.querySelectorAll("figure")) {
  const zoom = figure.querySelector(".zoom");
  zoom.addEventListener("click", () => enlarge(figure));
  const tools = element("div", { className: "tools" });
  const tap = button("Enlarge", `Enlarge: ${plain(figure.querySelector("figcaption b"))}`, () => enlarge(figure));
  tap.className = "tap"; // seen on phones, where a figure is small and no pointer tells that it can be enlarged
  tools.append(tap, ...saversOf(figure));
  figure.append(tools);
}

// --- print

let folded = [];
window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const box of folded) box.open = true;
});
window.addEventListener("afterprint", () => {
  for (const box of folded) box.open = false;
});
