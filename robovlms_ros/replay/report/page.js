"use strict";
// Draws what `script_data` holds. Texts of the bag and of the model only ever become text nodes.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const { actions, recorded, inferences, events, pictures, dimensions } = data;
  const LEFT = 48, RIGHT = 4, TOP = 18, BOTTOM = 6;
  const EVENT_COLOURS = {
    "dropped image": "--predicted", "overtaken image": "--quiet", instruction: "--good", failure: "--predicted",
    "gave up": "--predicted", "refused instruction": "--limited",
  };
  let cursor = 0;
  let range = [0, Math.max(data.duration, 1e-3)];
  let drag = null;
  let playing = null;

  // -- looking things up

  /** The index of the last of the ascending `times` that is at most `time`, or -1. */
  const lastBefore = (times, time) => {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= time) low = middle + 1; else high = middle;
    }
    return low - 1;
  };
  const inferenceTimes = inferences.map((each) => each.t);
  const pictureNumbers = pictures.map((each) => each.inference);
  const actionOf = new Map();
  actions.inference.forEach((number, index) => {
    if (number !== null && !actionOf.has(number)) actionOf.set(number, index);
  });
  const chunks = inferences.map((each, index) => index).filter((index) => (inferences[index].chunk || []).length > 1);
  const shown = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));

  // -- plots

  const plots = [...dimensions.map((each, index) => ({ ...each, index })), { name: "events", unit: "", strip: true }].map((plot) => {
    const box = document.createElement("div");
    box.className = plot.strip ? "plot strip" : "plot";
    const canvas = document.createElement("canvas");
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = plot.unit ? `${plot.name} (${plot.unit})` : plot.name;
    const value = document.createElement("span");
    value.className = "value";
    box.append(canvas, name, value);
    byId("plots").append(box);
    return { ...plot, canvas, value, back: document.createElement("canvas"), low: -1, high: 1, least: -1, most: 1 };
  });

  const bounds = (plot) => {
    let low = Infinity, high = -Infinity;
    const see = (value) => { if (value < low) low = value; if (value > high) high = value; };
    actions.v.forEach((row) => see(row[plot.index]));
    recorded.v.forEach((row) => see(row[plot.index]));
    chunks.forEach((index) => inferences[index].chunk.forEach((row) => see(row[plot.index])));
    if (plot.name === "gripper") { see(0); see(1); }
    if (low > high) [low, high] = [-1, 1];
    if (high - low < 0.02) [low, high] = [low - 0.01, high + 0.01];
    const margin = (high - low) * 0.08;
    Object.assign(plot, { least: low, most: high, low: low - margin, high: high + margin });
  };
  plots.filter((plot) => !plot.strip).forEach(bounds);

  const styles = getComputedStyle(document.documentElement);
  const colour = (name) => styles.getPropertyValue(name).trim();

  const size = (plot) => {
    const ratio = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = plot.canvas;
    for (const canvas of [plot.canvas, plot.back]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    Object.assign(plot, { ratio, width, height });
  };
  const toX = (plot, time) => LEFT + ((time - range[0]) / (range[1] - range[0])) * (plot.width - LEFT - RIGHT);
  const toTime = (plot, x) => range[0] + ((x - LEFT) / (plot.width - LEFT - RIGHT)) * (range[1] - range[0]);
  const toY = (plot, value) => plot.height - BOTTOM - ((value - plot.low) / (plot.high - plot.low)) * (plot.height - TOP - BOTTOM);

  const context = (canvas, plot) => {
    const found = canvas.getContext("2d");
    found.setTransform(plot.ratio, 0, 0, plot.ratio, 0, 0);
    found.clearRect(0, 0, plot.width, plot.height);
    return found;
  };

  const line = (draw, plot, times, rows, stroke, width) => {
    draw.strokeStyle = stroke;
    draw.lineWidth = width;
    draw.beginPath();
    const first = Math.max(0, lastBefore(times, range[0])), end = Math.min(times.length, lastBefore(times, range[1]) + 2);
    for (let index = first; index < end; index += 1) {
      const x = toX(plot, times[index]), y = toY(plot, rows[index][plot.index]);
      if (index === first) draw.moveTo(x, y); else draw.lineTo(x, y);
    }
    draw.stroke();
    if (end - first < 60) {
      draw.fillStyle = stroke;
      for (let index = first; index < end; index += 1) {
        draw.beginPath();
        draw.arc(toX(plot, times[index]), toY(plot, rows[index][plot.index]), 1.8, 0, 7);
        draw.fill();
      }
    }
  };

  const fan = (draw, plot, index, stroke, width) => {
    const { t, chunk } = inferences[index];
    draw.strokeStyle = stroke;
    draw.lineWidth = width;
    draw.beginPath();
    chunk.forEach((row, step) => {
      const x = toX(plot, t + step * data.step), y = toY(plot, row[plot.index]);
      if (step) draw.lineTo(x, y); else draw.moveTo(x, y);
    });
    draw.stroke();
  };

  const clip = (draw, plot) => {
    draw.save();
    draw.beginPath();
    draw.rect(LEFT, 0, plot.width - LEFT - RIGHT, plot.height);
    draw.clip();
  };

  /** What changes only with size and zoom. */
  const drawBack = (plot) => {
    const draw = context(plot.back, plot);
    draw.font = "11px system-ui, sans-serif";
    if (plot.strip) { drawEvents(draw, plot); return; }
    draw.strokeStyle = colour("--grid");
    draw.fillStyle = colour("--quiet");
    draw.textAlign = "right";
    draw.textBaseline = "middle";
    for (const value of [plot.least, plot.most]) {
      const y = Math.round(toY(plot, value)) + 0.5;
      draw.beginPath(); draw.moveTo(LEFT, y); draw.lineTo(plot.width - RIGHT, y); draw.stroke();
      draw.fillText(shown(value), LEFT - 6, y);
    }
    if (plot.low < 0 && plot.high > 0) {
      draw.strokeStyle = colour("--line");
      const y = Math.round(toY(plot, 0)) + 0.5;
      draw.beginPath(); draw.moveTo(LEFT, y); draw.lineTo(plot.width - RIGHT, y); draw.stroke();
    }
    clip(draw, plot);
    if (byId("all-chunks").checked) {
      draw.globalAlpha = 0.35;
      chunks.forEach((index) => fan(draw, plot, index, colour("--fan"), 1));
      draw.globalAlpha = 1;
    }
    line(draw, plot, recorded.t, recorded.v, colour("--recorded"), 2.6);
    line(draw, plot, actions.t, actions.v, colour("--predicted"), 1.4);
    draw.fillStyle = colour("--limited");
    actions.saturated.forEach((bits, index) => {
      if (!((bits >> plot.index) & 1)) return;
      draw.beginPath();
      draw.arc(toX(plot, actions.t[index]), toY(plot, actions.v[index][plot.index]), 2.6, 0, 7);
      draw.fill();
    });
    draw.restore();
  };

  const drawEvents = (draw, plot) => {
    clip(draw, plot);
    draw.lineWidth = 1.5;
    events.forEach((event) => {
      const x = toX(plot, event.t);
      draw.strokeStyle = colour(EVENT_COLOURS[event.kind] || "--limited");
      draw.beginPath(); draw.moveTo(x, TOP); draw.lineTo(x, plot.height - 3); draw.stroke();
    });
    draw.restore();
    draw.fillStyle = colour("--quiet");
    draw.textBaseline = "middle";
    draw.textAlign = "left";
    draw.fillText(`${range[0].toFixed(1)} s`, 2, plot.height - 10);
  };

  /** The background, and over it the cursor, its chunk and what is being dragged. */
  const drawFront = (plot) => {
    const draw = context(plot.canvas, plot);
    draw.setTransform(1, 0, 0, 1, 0, 0);
    draw.drawImage(plot.back, 0, 0);
    draw.setTransform(plot.ratio, 0, 0, plot.ratio, 0, 0);
    clip(draw, plot);
    if (drag && Math.abs(drag.to - drag.from) > 4) {
      draw.fillStyle = colour("--grid");
      draw.globalAlpha = 0.7;
      draw.fillRect(Math.min(drag.from, drag.to), 0, Math.abs(drag.to - drag.from), plot.height);
      draw.globalAlpha = 1;
    }
    const inference = inferences[cursor];
    if (inference) {
      const x = toX(plot, inference.t);
      draw.strokeStyle = colour("--quiet");
      draw.lineWidth = 1;
      draw.beginPath(); draw.moveTo(x, 0); draw.lineTo(x, plot.height); draw.stroke();
      if (!plot.strip && inference.chunk && inference.chunk.length) {
        fan(draw, plot, cursor, colour("--fan"), 2);
        draw.fillStyle = colour("--fan");
        inference.chunk.forEach((row, step) => {
          draw.beginPath();
          draw.arc(toX(plot, inference.t + step * data.step), toY(plot, row[plot.index]), 2.2, 0, 7);
          draw.fill();
        });
      }
    }
    draw.restore();
  };

  // -- the moment under the cursor

  const readout = (rows) => {
    byId("readout").replaceChildren(...rows.flatMap(([key, value]) => {
      const term = document.createElement("dt"), description = document.createElement("dd");
      term.textContent = key;
      description.textContent = value;
      return [term, description];
    }));
  };

  /** What happened from this inference to the next. */
  const between = (index) => {
    const from = inferenceTimes[index], to = index + 1 < inferenceTimes.length ? inferenceTimes[index + 1] : Infinity;
    return events.filter((event) => event.t >= from && event.t < to).slice(0, 5);
  };

  const showValues = () => {
    const time = inferences[cursor] ? inferences[cursor].t : 0;
    const own = actionOf.get(cursor) ?? lastBefore(actions.t, time);
    const theirs = lastBefore(recorded.t, own >= 0 ? Math.max(time, actions.t[own]) : time);
    plots.filter((plot) => !plot.strip).forEach((plot) => {
      const parts = [["predicted", own < 0 ? null : actions.v[own]], ["recorded", theirs < 0 ? null : recorded.v[theirs]]];
      plot.value.replaceChildren(...parts.filter(([, row]) => row).map(([kind, row]) => {
        const part = document.createElement("span");
        part.className = kind;
        part.textContent = shown(row[plot.index]);
        return part;
      }));
    });
  };

  const showPicture = () => {
    const place = Math.max(0, lastBefore(pictureNumbers, cursor));
    const picture = pictures[place], image = byId("picture");
    image.hidden = !picture;
    byId("no-picture").hidden = Boolean(picture);
    if (!picture) { byId("caption").textContent = "The report was made without pictures."; return; }
    if (image.dataset.inference !== String(picture.inference)) {
      image.src = picture.uri;
      image.width = picture.width;
      image.height = picture.height;
      image.dataset.inference = String(picture.inference);
    }
    const exact = picture.inference === cursor;
    byId("caption").textContent = exact
      ? `image of inference ${cursor}`
      : `image of inference ${picture.inference}, the nearest of ${pictures.length} that the report holds`;
  };

  const show = (index) => {
    if (!inferences.length) return;
    cursor = Math.min(Math.max(index, 0), inferences.length - 1);
    const inference = inferences[cursor];
    byId("scrubber").value = String(cursor);
    byId("scrubber").setAttribute("aria-valuetext", `inference ${cursor}, ${inference.t.toFixed(2)} seconds`);
    byId("clock").textContent = `${inference.t.toFixed(2)} s`;
    byId("instruction").textContent = inference.instruction ? `“${inference.instruction}”` : "";
    const own = actionOf.get(cursor);
    const timings = Object.entries(inference.timings).map(([name, value]) => `${name} ${shown(value)}`).join(" · ");
    readout([
      ["inference", `${cursor} of ${inferences.length}, episode ${inference.episode}`],
      ["outcome", inference.problem ? `${inference.outcome}: ${inference.problem}` : inference.outcome],
      ["action", own === undefined ? "none" : `number ${own}` + (actions.saturated[own] ? ", limited" : "")],
      ["time, ms", timings || "the model did not run"],
      ["events", between(cursor).map((event) => `${event.kind}: ${event.detail}`).join("; ") || "none"],
    ]);
    showPicture();
    showValues();
    if (inference.t < range[0] || inference.t > range[1]) {
      const span = range[1] - range[0];
      zoom(inference.t - span / 2, inference.t + span / 2);
    } else {
      plots.forEach(drawFront);
    }
  };

  const redraw = () => { plots.forEach((plot) => { size(plot); drawBack(plot); drawFront(plot); }); };

  const zoom = (from, to) => {
    const whole = Math.max(data.duration, 1e-3), span = Math.min(Math.max(to - from, 0.2), whole);
    const start = Math.min(Math.max(from, 0), whole - span);
    range = [start, start + span];
    byId("whole").hidden = span >= whole - 1e-9;
    plots.forEach((plot) => { drawBack(plot); drawFront(plot); });
  };

  // -- controls

  const stop = () => {
    if (playing !== null) cancelAnimationFrame(playing);
    playing = null;
    byId("play").textContent = "▶";
    byId("play").setAttribute("aria-label", "Play");
  };
  const play = () => {
    if (playing !== null) { stop(); return; }
    if (cursor >= inferences.length - 1) show(0);
    if (inferences.length < 2) return;
    byId("play").textContent = "❚❚";
    byId("play").setAttribute("aria-label", "Pause");
    const began = performance.now(), from = inferences[cursor].t;
    const advance = (now) => {
      const place = lastBefore(inferenceTimes, from + (now - began) / 1000);
      if (place !== cursor) show(place);
      if (place >= inferences.length - 1) stop(); else playing = requestAnimationFrame(advance);
    };
    playing = requestAnimationFrame(advance);
  };

  const nearest = (time) => {
    const before = Math.max(0, lastBefore(inferenceTimes, time)), after = Math.min(before + 1, inferences.length - 1);
    return after >= 0 && inferenceTimes[after] - time < time - inferenceTimes[before] ? after : before;
  };
  plots.forEach((plot) => {
    const place = (event) => event.clientX - plot.canvas.getBoundingClientRect().left;
    plot.canvas.addEventListener("pointerdown", (event) => {
      plot.canvas.setPointerCapture(event.pointerId);
      drag = { plot, from: place(event), to: place(event) };
    });
    plot.canvas.addEventListener("pointermove", (event) => {
      if (drag) { drag.to = place(event); plots.forEach(drawFront); }
    });
    plot.canvas.addEventListener("pointerup", () => {
      if (!drag) return;
      const { from, to } = drag;
      drag = null;
      if (Math.abs(to - from) > 6) zoom(toTime(plot, Math.min(from, to)), toTime(plot, Math.max(from, to)));
      else { stop(); show(nearest(toTime(plot, from))); }
    });
    plot.canvas.addEventListener("dblclick", () => zoom(0, data.duration));
  });
  byId("scrubber").max = String(Math.max(0, inferences.length - 1));
  byId("scrubber").addEventListener("input", (event) => { stop(); show(Number(event.target.value)); });
  byId("play").addEventListener("click", play);
  byId("whole").addEventListener("click", () => zoom(0, data.duration));
  byId("all-chunks").addEventListener("change", redraw);
  byId("recorded-legend").hidden = !recorded.t.length;
  document.addEventListener("keydown", (event) => {
    if (event.target !== document.body) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    if (event.key === " ") { event.preventDefault(); play(); }
    else if (event.key in steps) { event.preventDefault(); stop(); show(cursor + steps[event.key]); }
  });
  window.addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  redraw();
  show(0);
})();
