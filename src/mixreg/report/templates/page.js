"use strict";
// Sorts tables, steps through sliders and filters the claims. Without it, the page shows all there is.
(() => {
  const order = { none: "ascending", ascending: "descending", descending: "none" };
  const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  const number = (cell) => ("value" in cell.dataset ? Number(cell.dataset.value) : NaN);
  const text = (cell) => cell.textContent.trim();

  // Numbers, then words, then empty cells, whichever way the first two are sorted.
  const compare = (a, b, way) => {
    const [left, right] = [number(a), number(b)];
    const [first, second] = [text(a), text(b)];
    const rank = (value, shown) => (!Number.isNaN(value) ? 0 : shown ? 1 : 2);
    const ranks = rank(left, first) - rank(right, second);
    if (ranks !== 0) return ranks;
    return way * (Number.isNaN(left) ? words.compare(first, second) : left - right);
  };

  const sort = (table, column, direction) => {
    const way = direction === "descending" ? -1 : 1;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => "place" in row.dataset);
      const place = (row) => Number(row.dataset.place);
      rows.sort((a, b) =>
        (direction === "none" ? 0 : compare(a.cells[column], b.cells[column], way))
        || place(a) - place(b));
      body.append(...rows);
    }
  };

  const makeSortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    let place = 0;
    for (const body of table.tBodies) {
      for (const row of body.rows) {
        if (row.cells.length === heads.length) row.dataset.place = String(place++);
      }
    }
    if (place < 2) return;
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      if (!text(button)) button.setAttribute("aria-label", "first column");
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const direction = order[head.getAttribute("aria-sort")];
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", direction);
        sort(table, column, direction);
      });
    });
  };

  const makeSlider = (figure) => {
    const input = figure.querySelector("input");
    const output = figure.querySelector("output");
    const frames = [...figure.querySelectorAll(".frame")];
    const show = () => {
      frames.forEach((frame, k) => { frame.hidden = k !== Number(input.value); });
      const value = text(frames[Number(input.value)].querySelector(".value"));
      output.textContent = value;
      input.setAttribute("aria-valuetext", value);
    };
    input.value = figure.dataset.start;
    input.addEventListener("input", show);
    figure.querySelector(".control").hidden = false;
    show();
  };

  const makeFilter = (ledger) => {
    const filter = ledger.querySelector(".filter");
    const status = ledger.querySelector(".status");
    const search = filter.querySelector("input");
    const choices = [...filter.querySelectorAll("select")];
    const rows = [...ledger.querySelector("tbody").rows];
    const apply = () => {
      const sought = search.value.trim().toLowerCase();
      for (const row of rows) {
        row.hidden = !text(row).toLowerCase().includes(sought)
          || choices.some((c) => c.value && row.dataset[c.dataset.column] !== c.value);
      }
      const left = rows.filter((row) => !row.hidden).length;
      status.textContent = left === rows.length ? "" : `${left} of ${rows.length} claims shown`;
    };
    filter.addEventListener("input", apply);
    filter.hidden = false;
    apply();
  };

  // What scrolls sideways can be scrolled by keyboard.
  const reach = () => {
    for (const box of document.querySelectorAll(".plot, .scroll")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };

  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll(".sequence").forEach(makeSlider);
  document.querySelectorAll(".ledger").forEach(makeFilter);
  window.addEventListener("resize", reach);
  reach();
})();
