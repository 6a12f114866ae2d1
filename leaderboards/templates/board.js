
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const number = (value, unit) => {
    if (value === undefined || value === null) return "–";
    if (Math.abs(value) >= 1e6) return value.toExponential(2).replace("-", "−");
    return value.toFixed(unit ? 2 : 3).replace("-", "−");
  };

  // The state of the page is the address: #results-fidelity&dataset=...&q=... opens the same view again.
  const DEFAULTS = { view: "results", dataset: "", protocol: "", q: "", sort: "", columns: "", show: "" };
  const tables = all("table.board"), tabs = all('[role="tab"]'), status = one("#status");
  const views = tables.map((table) => table.dataset.view);
  const state = { ...DEFAULTS, view: views[0] };
  const panel = (view) => document.getElementById(`panel-${view}`);
  const tableOf = (view) => one(`table.board[data-view="${view}"]`);
  const rows = (table) => all(".competitors tr", table);
  const cell = (row, column) => one(`td[data-column="${column}"]`, row);
  const filters = one("#filters"), narrow = matchMedia("(max-width: 40rem)");
  const boxes = all("#columns input"), shows = all("[data-show]");
  const initially = new Map([...boxes, ...shows].map((box) => [box, box.checked]));
  const changed = (those, name) => those.filter((box) => box.checked !== initially.get(box)).map((box) => box.dataset[name]).join(",");

  const sortBy = (table, column, reverse) => {
    const body = one(".competitors", table);
    const better = column === "name" ? false : data.columns[column].better;
    const sign = (better === false ? 1 : -1) * (reverse ? -1 : 1);
    const value = (row) => {
      const found = cell(row, column);
      return found && found.dataset.value !== undefined ? Number(found.dataset.value) : null;
    };
    const name = (row) => one(".who a", row).textContent;
    const order = rows(table).map((row, place) => ({ row, place, value: column === "name" ? null : value(row) }));
    order.sort((a, b) => {
      if (column === "name") return (reverse ? -1 : 1) * name(a.row).localeCompare(name(b.row), "en");
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.place - b.place;
      return sign * (a.value - b.value) || a.place - b.place;
    });
    order.forEach((entry) => body.append(entry.row));
    all("thead th[aria-sort]", table).forEach((head) => head.setAttribute("aria-sort", "none"));
    const ascending = column === "name" ? !reverse : sign > 0;
    one(`thead th[data-column="${column}"]`, table).setAttribute("aria-sort", ascending ? "ascending" : "descending");
  };
  const sortOf = (table) => {
    const head = one('thead th[aria-sort="ascending"], thead th[aria-sort="descending"]', table);
    if (!head) return "";
    const column = head.dataset.column, ascending = head.getAttribute("aria-sort") === "ascending";
    const first = column === "name" || data.columns[column].better === false;
    return ascending === first ? column : `${column}.reversed`;
  };

  const wanted = (group) => {
    const about = data.groups[Number(group)];
    return (!state.dataset || about.dataset === state.dataset) && (!state.protocol || about.protocol === state.protocol);
  };
  const filter = () => {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = new Map(boxes.map((box) => [box.dataset.column, box.checked]));
    tables.forEach((table) => {
      all("tbody tr[data-row]", table).forEach((row) => {
        const text = one(".who", row).textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      });
      const divider = one(".references .divider", table);
      if (divider) divider.hidden = !all(".references tr[data-row]", table).some((row) => !row.hidden);
      const off = new Map(all("thead th[data-group][data-column]", table).map((head) => {
        const column = head.dataset.column;
        return [column, !wanted(head.dataset.group) || (table.dataset.overview === undefined && !chosen.get(column))];
      }));
      all("[data-column]", table).forEach((one) => one.classList.toggle("off", off.get(one.dataset.column) === true));
      all("thead .group", table).forEach((head) => {
        const shown = all(`thead th[data-column][data-group="${head.dataset.group}"]:not(.off)`, table).length;
        head.hidden = shown === 0;
        head.colSpan = Math.max(shown, 1);
      });
      shows.forEach((box) => {
        const references = one(".references", table);
        if (box.dataset.show !== "references") table.classList.toggle(box.dataset.show, box.checked);
        else if (references) references.hidden = !box.checked;
      });
      const any = all("thead .group", table).some((head) => !head.hidden);
      one(".nothing", panel(table.dataset.view)).hidden = any;
      table.parentNode.hidden = !any;
    });
    all("[data-groups]").forEach((part) => {
      const groups = part.dataset.groups.split(" ");
      part.hidden = !(part.classList.contains("about-metrics") ? groups.every(wanted) : groups.some(wanted));
    });
    const overview = tableOf(state.view).dataset.overview !== undefined;
    one("#columns").hidden = overview;
    all("#columns [data-groups]").forEach((part) => {
      if (!one(`thead .group[data-group="${part.dataset.groups}"]`, tableOf(state.view))) part.hidden = true;
    });
    const here = rows(tableOf(state.view)), shown = here.filter((row) => !row.hidden).length;
    status.textContent = shown === here.length ? "" : `${shown} of ${here.length} models`;
  };
  const select = (view) => {
    state.view = views.includes(view) ? view : views[0];
    if (!tabs.length) return;
    tabs.forEach((tab) => {
      const chosen = tab.id === `tab-${state.view}`;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    });
    views.forEach((other) => { panel(other).hidden = other !== state.view; });
  };
  // The address of a view, or of another part of the page: #gallery&dataset=... keeps the filters.
  const address = (part = state.view) => {
    state.sort = sortOf(tableOf(state.view));
    state.columns = changed(boxes, "column");
    state.show = changed(shows, "show");
    const rest = Object.keys(DEFAULTS).filter((name) => name !== "view" && state[name]);
    if (part !== state.view && state.view !== views[0]) rest.push("view");
    return `#${part}${rest.map((name) => `&${name}=${encodeURIComponent(state[name])}`).join("")}`;
  };
  const changedByReader = () => { filter(); history.replaceState(null, "", address()); };
  // Apply the filters of the address and return whether it is that of a view. Unknown values are ignored, since it is untrusted.
  const follow = () => {
    const [view, ...rest] = location.hash.slice(1).split("&");
    const isView = views.includes(view) || view === "results";
    if (!isView && !rest.length) return false;
    const given = { ...DEFAULTS };
    for (const part of rest) {
      const [name, value = ""] = part.split("=");
      try { if (name in DEFAULTS) given[name] = decodeURIComponent(value); } catch { /* not an address of ours */ }
    }
    const selects = { dataset: one("#dataset"), protocol: one("#protocol") };
    for (const [name, field] of Object.entries(selects)) {
      const known = field && [...field.options].some((option) => option.value === given[name]);
      state[name] = known ? given[name] : "";
      if (field) field.value = state[name];
    }
    state.q = one("#search").value = given.q;
    const set = (those, name, listed) => those.forEach((box) => { box.checked = initially.get(box) !== listed.split(",").includes(box.dataset[name]); });
    set(boxes, "column", given.columns);
    set(shows, "show", given.show);
    select(isView ? view : given.view);
    const [column, reversed] = given.sort.split(".");
    if (one(`thead th[data-column="${CSS.escape(column)}"]`, tableOf(state.view))) sortBy(tableOf(state.view), column, reversed === "reversed");
    filter();
    return isView;
  };

  tables.forEach((table) => all(".sort", table).forEach((button) => {
    button.addEventListener("click", () => {
      const column = button.closest("th").dataset.column;
      sortBy(table, column, sortOf(table) === column);
      changedByReader();
    });
  }));
  one("#search").addEventListener("input", (event) => { state.q = event.target.value; changedByReader(); });
  ["dataset", "protocol"].forEach((name) => {
    const field = one(`#${name}`);
    if (field) field.addEventListener("change", () => { state[name] = field.value; changedByReader(); });
  });
  [...boxes, ...shows].forEach((box) => box.addEventListener("change", changedByReader));
  if (tabs.length) {
    const list = one('[role="tablist"]');
    list.hidden = false;
    one("#results").classList.add("tabbed");
    views.forEach((view) => {
      panel(view).setAttribute("role", "tabpanel");
      panel(view).setAttribute("aria-labelledby", `tab-${view}`);
    });
    const viewOf = (tab) => tab.id.slice("tab-".length);
    tabs.forEach((tab) => tab.addEventListener("click", () => { select(viewOf(tab)); changedByReader(); }));
    list.addEventListener("keydown", (event) => {
      const at = tabs.indexOf(document.activeElement), last = tabs.length - 1;
      const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      tabs[to].focus();
      tabs[to].click();
    });
  }
  select(views[0]);
  filter();

  // The panel of columns stays inside the window, wherever its button is.
  const menuIn = () => {
    const panel = one("#columns .panel"), margin = 8;
    panel.style.left = "0";
    const box = panel.getBoundingClientRect(), width = document.documentElement.clientWidth;
    panel.style.left = `${Math.max(margin - box.left, Math.min(0, width - margin - box.right))}px`;
  };
  one("#columns").addEventListener("toggle", () => { if (one("#columns").open) menuIn(); });
  addEventListener("resize", () => { if (one("#columns").open) menuIn(); });
  document.addEventListener("click", (event) => {
    const menu = one("#columns");
    if (menu.open && !menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const menu = one("#columns");
    if (event.key === "Escape" && menu.open) { menu.open = false; one("summary", menu).focus(); }
  });

  // The visible part of the table as CSV; a leading sign that a spreadsheet would compute is quoted.
  const csvCell = (text) => {
    const safe = /^[=+\-@\t\r]/.test(text) && !/^[-+]?[0-9.]+(e[-+]?[0-9]+)?$/i.test(text) ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const csv = () => {
    const table = tableOf(state.view);
    const heads = all("thead th[data-column][data-group]", table).filter((head) => !head.classList.contains("off"));
    const group = (head) => one(`thead .group[data-group="${head.dataset.group}"] a`, table).textContent;
    const lines = [["model", "role", ...heads.map((head) => `${group(head)}: ${data.columns[head.dataset.column].title}`)]];
    all("tbody tr[data-row]", table).forEach((row) => {
      if (row.hidden || row.parentNode.hidden) return;
      const role = row.parentNode.classList.contains("competitors") ? "competitor" : "reference";
      lines.push([data.rows[row.dataset.row], role, ...heads.map((head) => cell(row, head.dataset.column).dataset.value ?? "")]);
    });
    return lines.map((line) => line.map(csvCell).join(",")).join("\r\n") + "\r\n";
  };
  one("#csv").addEventListener("click", () => {
    const blob = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    const link = document.createElement("a");
    link.href = blob;
    link.download = "board.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(blob), 1000);
  });

  // A link to a model or protocol opens its card; a link to a view shows it.
  const openTarget = () => {
    if (follow()) return;
    let name = "";
    try { name = decodeURIComponent(location.hash.slice(1).split("&")[0]); } catch { return; }
    goTo(name && document.getElementById(name));
  };
  const goTo = (target) => {
    if (!target) return;
    if (target.matches("details")) target.open = true;
    target.scrollIntoView();
    (target.matches("details") ? one("summary", target) : target).focus({ preventScroll: true });
  };
  addEventListener("hashchange", openTarget);
  all('a[href^="#"]').forEach((link) => link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const name = decodeURIComponent(link.hash.slice(1));
    history.pushState(null, "", address(name === "results" ? state.view : name));
    goTo(document.getElementById(name));
  }));
  openTarget();
  // On a narrow screen the table comes first: its filters are folded, unless the address has some.
  const fold = () => { filters.open = !narrow.matches || location.hash.includes("&"); };
  narrow.addEventListener("change", fold);
  fold();

  // The gallery: order and scores.
  const scoresOf = (gallery, place, column) => data.galleries[gallery][place].scores[column] || {};
  const arrange = (gallery) => {
    const tools = one(`.tools[data-gallery="${gallery}"]`), images = one(`.images[data-gallery="${gallery}"]`);
    const order = one("[data-order]", tools).value, column = one("[data-metric]", tools).value, of = one("[data-of]", tools).value;
    const about = data.columns[column];
    const worth = (place) => {
      const scores = scoresOf(gallery, place, column);
      const values = (of ? [of] : data.competitors).map((row) => scores[row]).filter((value) => value !== undefined);
      if (!values.length) return null;
      if (order === "disagreement") {
        const everyone = data.competitors.map((row) => scores[row]).filter((value) => value !== undefined);
        const mean = everyone.reduce((a, b) => a + b, 0) / everyone.length;
        return of ? Math.abs(scores[of] - mean) : Math.max(...everyone) - Math.min(...everyone);
      }
      return values.reduce((a, b) => a + b, 0) / values.length * (about.better === false ? -1 : 1) * (order === "worst" ? -1 : 1);
    };
    const cards = all(".image", images).map((card) => ({ card, place: Number(card.dataset.image) }));
    const plain = order === "default" || order === "name";
    cards.forEach((entry) => { entry.worth = plain ? null : worth(entry.place); });
    const name = (entry) => data.galleries[gallery][entry.place].id;
    cards.sort((a, b) => {
      if (order === "name") return name(a) < name(b) ? -1 : 1;
      if (plain || (a.worth === null && b.worth === null)) return a.place - b.place;
      if (a.worth === null || b.worth === null) return (a.worth === null) - (b.worth === null);
      return b.worth - a.worth || a.place - b.place;
    });
    cards.forEach(({ card, place }) => {
      const scores = scoresOf(gallery, place, column);
      const values = data.competitors.map((row) => scores[row]).filter((value) => value !== undefined);
      // Values that are shown as equal are equal for a reader: none of them alone is the best.
      const shown = (value) => number(value, about.unit);
      const tied = values.every((value) => shown(value) === shown(values[0]));
      const best = about.better === null || values.length < 2 || tied ? null : about.better ? Math.max(...values) : Math.min(...values);
      all(".score", card).forEach((score) => {
        const value = scores[score.dataset.row];
        score.textContent = value === undefined ? "" : shown(value);
        score.classList.toggle("top", value !== undefined && best !== null && shown(value) === shown(best) && data.competitors.includes(score.dataset.row));
      });
      images.append(card);
    });
  };
  all(".tools[data-gallery]").forEach((tools) => {
    all("select", tools).forEach((select) => select.addEventListener("change", () => arrange(tools.dataset.gallery)));
    arrange(tools.dataset.gallery);
  });

  // The viewer: enlarge, flip between two, distance from the ground truth.
  const viewer = one("#viewer");
  if (!viewer) return;
  const image = one("#viewer-img"), map = one("#viewer-map"), now = one("#viewer-now"), error = one("#viewer-error");
  const selects = { a: one("#viewer-a"), b: one("#viewer-b") };
  let card = null, side = "a";
  const thumbnail = (key) => card && one(`.thumbnail[data-key="${key}"] img`, card);
  const label = (key) => data.rows[key] || (key === "truth" ? "ground truth" : key);
  const shown = () => thumbnail(selects[side].value);
  const open = (which, key) => {
    const previous = viewer.open ? { a: selects.a.value, b: selects.b.value } : null;
    card = which;
    const keys = all("button.thumbnail", card).map((button) => button.dataset.key);
    Object.values(selects).forEach((select) => select.replaceChildren(...keys.map((value) => new Option(label(value), value))));
    const choose = (wanted, other) => keys.includes(wanted) ? wanted : other;
    const other = key === "truth" ? keys.find((value) => data.competitors.includes(value)) || "gray" : "truth";
    selects.a.value = choose(previous ? previous.a : key, keys[0]);
    selects.b.value = choose(previous ? previous.b : other, keys[keys.length - 1]);
    if (!previous) side = "a";
    if (!viewer.open) viewer.showModal();
    draw();
  };
  const draw = () => {
    const gallery = card.closest(".images").dataset.gallery, sample = data.galleries[gallery][Number(card.dataset.image)];
    const key = selects[side].value, from = shown();
    one("#viewer-h").textContent = sample.id;
    image.src = from.src;
    image.alt = from.alt;
    now.textContent = `${side.toUpperCase()}: ${label(key)}`;
    one("#viewer-ha").textContent = label(selects.a.value);
    one("#viewer-hb").textContent = label(selects.b.value);
    const truth = thumbnail("truth");
    error.disabled = !truth;
    const mapped = error.checked && truth;
    image.hidden = !!mapped; map.hidden = !mapped; one(".ramp", viewer).hidden = !mapped;
    if (mapped) distances(from, truth);
    const rows = Object.keys(sample.scores).map((column) => {
      const row = document.createElement("tr"), head = document.createElement("th"), about = data.columns[column];
      head.scope = "row";
      head.textContent = `${about.title} ${about.unit}`;
      row.append(head, ...["a", "b"].map((which) => {
        const cell = document.createElement("td");
        const chosen = selects[which].value;
        cell.textContent = number(sample.scores[column][data.baselines[chosen] || chosen], about.unit);
        return cell;
      }));
      return row;
    });
    one("#viewer-scores").replaceChildren(...rows);
  };
  const flip = () => { side = side === "a" ? "b" : "a"; draw(); };
  const step = (by) => {
    const cards = all(".image", card.parentNode).filter((other) => one("button.thumbnail", other));
    open(cards[(cards.indexOf(card) + by + cards.length) % cards.length]);
  };

  // sRGB, D65 -> a and b of CIE Lab, as in the scores. Thumbnails are small and compressed: for viewing, not for scoring.
  const linear = Float64Array.from({ length: 256 }, (_, i) => { const c = i / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  const f = (t) => t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116;
  const ab = (pixels, i) => {
    const r = linear[pixels[i]], g = linear[pixels[i + 1]], b = linear[pixels[i + 2]];
    const x = f((0.412453 * r + 0.35758 * g + 0.180423 * b) / 0.95047), y = f(0.212671 * r + 0.71516 * g + 0.072169 * b);
    const z = f((0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.08883);
    return [500 * (x - y), 200 * (y - z)];
  };
  const FARTHEST = 60, stops = [[13, 8, 35], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
  const heat = (share) => {
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2);
    return stops[i].map((low, k) => low + (stops[i + 1][k] - low) * (at - i));
  };
  const pixelsOf = (from, width, height) => {
    const canvas = document.createElement("canvas");
    canvas.width = width; canvas.height = height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(from, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
  const distances = (from, truth) => {
    const width = truth.naturalWidth, height = truth.naturalHeight;
    const pixels = pixelsOf(from, width, height), expected = pixelsOf(truth, width, height);
    map.width = width; map.height = height;
    const context = map.getContext("2d"), out = context.createImageData(width, height);
    let sum = 0;
    for (let i = 0; i < pixels.length; i += 4) {
      const [a1, b1] = ab(pixels, i), [a2, b2] = ab(expected, i), distance = Math.hypot(a1 - a2, b1 - b2);
      sum += distance;
      out.data.set(heat(distance / FARTHEST), i);
      out.data[i + 3] = 255;
    }
    context.putImageData(out, 0, 0);
    now.textContent += ` · mean ab distance ${(sum / (width * height)).toFixed(1)} (from thumbnails)`;
  };
  const ramp = one("#viewer-ramp").getContext("2d");
  for (let i = 0; i < 256; i += 1) { ramp.fillStyle = `rgb(${heat(i / 255).map(Math.round).join(",")})`; ramp.fillRect(i, 0, 1, 10); }

  all("button.thumbnail").forEach((button) => button.addEventListener("click", () => open(button.closest(".image"), button.dataset.key)));
  const acts = { close: () => viewer.close(), flip, previous: () => step(-1), next: () => step(1) };
  all("[data-act]", viewer).forEach((button) => button.addEventListener("click", acts[button.dataset.act]));
  Object.values(selects).forEach((select) => select.addEventListener("change", () => { side = select === selects.a ? "a" : "b"; draw(); }));
  error.addEventListener("change", draw);
  image.addEventListener("click", flip);
  map.addEventListener("click", flip);
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.target.matches("select, input")) return;
    if (event.key === " " && !event.target.matches("button")) { event.preventDefault(); flip(); }
    if (event.key === "e") { error.checked = !error.checked; draw(); }
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  });
})();
