// What the console does beyond plain pages. Every page works without it: forms are sent, links are followed, tables are read.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  // --- the menu on a phone

  document.addEventListener("click", (event) => {
    const toggle = event.target.closest(".rail-toggle");
    if (!toggle) return;
    const open = toggle.closest(".rail").classList.toggle("open");
    toggle.setAttribute("aria-expanded", String(open));
  });

  // --- asking before an act: <form data-confirm="Question" data-confirm-detail="…" data-confirm-word="Delete">,
  // or the same attributes on one of its submit buttons. Without a script the server asks with a page of its own.

  const question = (element, name) => element.getAttribute(name) || "";
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const by = event.submitter && event.submitter.hasAttribute("data-confirm") ? event.submitter : form;
    if (!by.hasAttribute("data-confirm") || form.elements.namedItem("confirmed")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const dialog = document.getElementById("confirm");
    const chosen = [...form.elements].filter((one) => one.matches("input[data-choose]") && one.checked).length;
    dialog.querySelector("h2").textContent = question(by, "data-confirm").replace("{n}", String(chosen));
    dialog.querySelector("p").textContent = question(by, "data-confirm-detail");
    const yes = dialog.querySelector("button[value=yes]");
    yes.textContent = question(by, "data-confirm-word") || "Yes, do it";
    yes.classList.toggle("danger", by.hasAttribute("data-danger"));
    yes.classList.toggle("main", !by.hasAttribute("data-danger"));
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "yes") return;
      const mark = document.createElement("input");
      mark.type = "hidden";
      mark.name = "confirmed";
      mark.value = "1";
      form.append(mark);
      form.requestSubmit(event.submitter || undefined);
      mark.remove();
    }, { once: true });
    dialog.showModal();
  }, true);

  // --- bulk choice: one box chooses all rows of the page, and what may be done says for how many

  const count = (scope) => {
    const boxes = [...scope.querySelectorAll("input[data-choose]")];
    const chosen = boxes.filter((box) => box.checked).length;
    for (const all of scope.querySelectorAll("input[data-choose-all]")) {
      all.checked = chosen > 0 && chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    }
    for (const place of scope.querySelectorAll("[data-chosen]")) place.textContent = String(chosen);
  };
  document.addEventListener("change", (event) => {
    const box = event.target;
    const scope = box.closest("[data-choices]");
    if (!scope) return;
    if (box.hasAttribute("data-choose-all")) {
      for (const each of scope.querySelectorAll("input[data-choose]")) each.checked = box.checked;
    }
    if (box.hasAttribute("data-choose-all") || box.hasAttribute("data-choose")) count(scope);
  });

  // --- a select that sends its form at once: <select data-send>

  document.addEventListener("change", (event) => {
    if (event.target.matches("select[data-send]")) event.target.form.requestSubmit();
  });

  // --- a list that is followed stays at its end, unless the reader has scrolled up

  const follow = (list) => { list.scrollTop = list.scrollHeight; };
  const atEnd = new WeakMap();
  document.addEventListener("scroll", (event) => {
    const list = event.target;
    if (list.matches && list.matches("[data-follow]")) {
      atEnd.set(list, list.scrollHeight - list.scrollTop - list.clientHeight < 30);
    }
  }, true);

  // --- pictures: <figure class="picture" data-picture> draws the table inside it

  const drawn = new Map();
  const colourOf = (element) => getComputedStyle(element).color;
  const shown = {
    count: (value) => (value == null ? "–" : value.toLocaleString(undefined, { maximumFractionDigits: 1 })),
    s: (value) => (value == null ? "–" : value >= 120 ? `${(value / 60).toFixed(0)} min` : value >= 10 ? `${value.toFixed(0)} s` : `${value.toFixed(2)} s`),
    ms: (value) => (value == null ? "–" : value >= 10000 ? `${(value / 1000).toFixed(0)} s` : `${value.toFixed(value < 10 ? 1 : 0)} ms`),
  };
  const probe = (name) => {
    const element = document.createElement("span");
    element.className = name;
    document.body.append(element);
    const colour = colourOf(element);
    element.remove();
    return colour;
  };

  const draw = (figure) => {
    const canvas = figure.querySelector(".canvas");
    const table = figure.querySelector("table");
    if (!window.uPlot || !canvas || !table) return;
    const heads = [...table.querySelectorAll("thead th")].slice(1);
    const rows = [...table.querySelectorAll("tbody tr")];
    const legend = [...figure.querySelectorAll(".legend li")];
    const format = shown[figure.dataset.unit] || shown.count;
    const number = (text) => (text === "" || text === undefined ? null : Number(text));
    const data = [rows.map((row) => Number(row.cells[0].dataset.value))];
    heads.forEach((_, at) => data.push(rows.map((row) => number(row.cells[at + 1].dataset.value))));
    const old = drawn.get(figure);
    if (old) old.destroy();
    canvas.replaceChildren();
    if (rows.length < 2) return;
    const axis = { stroke: probe("axis-colour"), grid: { stroke: probe("grid-colour"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    // Where no mail came there is nothing to tell: a value between two gaps is a point, all others are lines.
    const alone = (self, series) => {
      const values = self.data[series];
      return [...values.keys()].filter((i) => values[i] != null && values[i - 1] == null && values[i + 1] == null);
    };
    const marks = heads.map((head, at) => {
      const colour = legend[at] ? colourOf(legend[at].querySelector("i")) : axis.stroke;
      return { label: head.textContent, stroke: colour, width: 2, points: { show: true, size: 4, fill: colour, filter: alone } };
    });
    // Times are the gateway's, as in the tables and the log, wherever the reader is.
    const at = (moment) => new Date((moment + Number(figure.dataset.offset || 0)) * 1000);
    const two = (value) => String(value).padStart(2, "0");
    const label = (moment, step) => {
      const date = window.uPlot.tzDate(at(moment), "Etc/UTC");
      return step >= 86400 ? `${two(date.getMonth() + 1)}-${two(date.getDate())}` : `${two(date.getHours())}:${two(date.getMinutes())}`;
    };
    const plot = new window.uPlot({
      width: canvas.clientWidth || figure.clientWidth,
      height: 192,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      tzDate: (moment) => window.uPlot.tzDate(at(moment), "Etc/UTC"),
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      series: [{}, ...marks],
      axes: [{ ...axis, size: 30, values: (_, moments, __, ___, step) => moments.map((moment) => label(moment, step)) }, { ...axis, size: 58, values: (_, values) => values.map((value) => format(value)) }],
      hooks: {
        setCursor: [(self) => {
          const index = self.cursor.idx ?? data[0].length - 1;
          legend.forEach((item, series) => { item.querySelector("b").textContent = format(data[series + 1][index]); });
        }],
      },
    }, data, canvas);
    drawn.set(figure, plot);
  };

  const drawAll = (scope) => {
    for (const figure of drawn.keys()) {
      if (!figure.isConnected) { drawn.get(figure).destroy(); drawn.delete(figure); }
    }
    for (const figure of scope.querySelectorAll("[data-picture]")) draw(figure);
  };
  let resized = 0;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => {
      for (const [figure, plot] of drawn) plot.setSize({ width: figure.querySelector(".canvas").clientWidth, height: 192 });
    }, 120);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));

  // --- whatever came with the page, and whatever is put into it later

  const ready = (scope) => {
    drawAll(scope);
    for (const each of scope.querySelectorAll("[data-choices]")) count(each);
    for (const list of scope.querySelectorAll("[data-follow]")) {
      if (atEnd.get(list) !== false) follow(list);
    }
  };
  document.addEventListener("DOMContentLoaded", () => ready(document));
  document.addEventListener("htmx:after:swap", () => ready(document));

  // Parts that keep themselves up to date do so at once when the page is looked at again.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    for (const part of document.querySelectorAll("[data-live]")) part.dispatchEvent(new Event("refresh"));
  });

  // A part with data-events hears from the gateway when something has changed, and asks for itself anew: at most
  // every few seconds. Without the stream (too many listen, it broke off for good) it looks by itself now and then, as its hx-trigger says.
  const QUIET_MS = 5000;
  const listen = (part) => {
    let stream = null;
    let asked = Date.now();
    let waiting = 0;
    const refresh = () => {
      waiting = 0;
      asked = Date.now();
      part.dispatchEvent(new Event("refresh"));
    };
    const heard = () => {
      if (!waiting) waiting = setTimeout(refresh, Math.max(0, asked + QUIET_MS - Date.now()));
    };
    const open = () => {
      if (stream || document.hidden) return;
      stream = new EventSource(part.dataset.events);
      for (const topic of new URL(stream.url).searchParams.get("topics").split(",")) stream.addEventListener(topic, heard);
    };
    const close = () => {
      if (stream) stream.close();
      stream = null;
    };
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    open();
  };
  document.addEventListener("DOMContentLoaded", () => {
    for (const part of document.querySelectorAll("[data-events]")) listen(part);
  });

  // What htmx sends carries the session's token; a page that is not looked at asks nothing.
  document.addEventListener("htmx:config:request", (event) => {
    const { sourceElement: from, request } = event.detail.ctx;
    if (document.hidden && from && from.matches("[data-live]")) event.preventDefault();
    const token = document.querySelector('meta[name="csrf"]');
    if (token && request.method !== "GET") request.headers["X-CSRF-Token"] = token.content;
  });
})();
