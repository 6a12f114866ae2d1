// A jsPsych plugin for one trial: two images, one after the other, each for an exact time, then the choice.
//
// The images are decoded before the trial starts and drawn while they are hidden, so showing one only changes its
// visibility. All times are taken from the frames: the recorded exposure is the time from the frame in which an image
// becomes visible to the frame in which it is hidden.

const MEANT = 300; // milliseconds: an earlier click cannot be meant for a button that has just appeared
const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
const rounded = (milliseconds) => Math.round(100 * milliseconds) / 100;
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

// Counts how often the window lost the focus or was hidden during a trial.
class Focus {
  constructor() {
    this.losses = 0;
    this.here = document.hasFocus() && !document.hidden;
    this.look = () => {
      const here = document.hasFocus() && !document.hidden;
      if (this.here && !here) this.losses += 1;
      this.here = here;
    };
    for (const name of ["blur", "focus"]) window.addEventListener(name, this.look);
    document.addEventListener("visibilitychange", this.look);
  }

  stop() {
    for (const name of ["blur", "focus"]) window.removeEventListener(name, this.look);
    document.removeEventListener("visibilitychange", this.look);
  }
}

const Type = jsPsychModule.ParameterType;

export class PairPlugin {
  static info = {
    name: "pair",
    version: "1.0.0",
    parameters: {
      stimuli: { type: Type.FUNCTION }, // () -> [ImageBitmap, ImageBitmap]
      times: { type: Type.OBJECT }, // exposure, lead, gap: milliseconds
      started: { type: Type.FUNCTION, default: null },
      send: { type: Type.FUNCTION }, // (response) -> promise of {correct} in practice
      practice: { type: Type.BOOL, default: false },
    },
    data: {
      response: { type: Type.STRING },
      reaction_ms: { type: Type.FLOAT },
      exposure_first_ms: { type: Type.FLOAT },
      exposure_second_ms: { type: Type.FLOAT },
      frame_ms: { type: Type.FLOAT },
      focus_losses: { type: Type.INT },
      input: { type: Type.STRING },
    },
  };

  constructor(jsPsych) {
    this.jsPsych = jsPsych;
  }

  async trial(display, trial) {
    const view = this.build(display, trial.stimuli());
    const focus = new Focus();
    trial.started?.();
    const seen = await this.present(view, trial.times);
    const choice = await this.choose(view);
    focus.stop();
    const data = { ...choice, ...seen, focus_losses: focus.losses };
    view.buttons.classList.add("off");
    view.ask.hidden = true;
    const reply = await trial.send(data);
    if (trial.practice) await this.feedback(view, data.response, reply.correct);
    this.jsPsych.finishTrial(data);
  }

  build(display, stimuli) {
    display.innerHTML = `<h1 class="unseen">Compare the colors of two images</h1><div class="pair">
      <div class="box"><span class="fix" aria-hidden="true">+</span><canvas></canvas><canvas></canvas>
      <p class="ask" role="status" aria-live="polite" hidden></p></div>
      <div class="two off" role="group" aria-label="Which one had fake colors?">
      <button type="button" value="first">The first<br><kbd>1</kbd></button>
      <button type="button" value="second">The second<br><kbd>2</kbd></button></div></div>`;
    const canvases = [...display.querySelectorAll("canvas")];
    canvases.forEach((canvas, i) => {
      Object.assign(canvas, { width: stimuli[i].width, height: stimuli[i].height });
      canvas.setAttribute("aria-hidden", "true");
      canvas.getContext("2d", { alpha: false }).drawImage(stimuli[i], 0, 0);
    });
    return {
      display,
      canvases,
      fix: display.querySelector(".fix"),
      ask: display.querySelector(".ask"),
      buttons: display.querySelector(".two"),
    };
  }

  async present({ canvases, fix }, times) {
    let last = await frame();
    const start = last;
    const frames = [];
    // Waits for the frame nearest to `ms` after `since`, and returns its time.
    const until = async (since, ms) => {
      for (;;) {
        const now = await frame();
        frames.push(now - last);
        last = now;
        const half = frames.length > 4 ? median(frames) / 2 : 8;
        if (now - since >= ms - half) return now;
      }
    };
    const show = async (canvas, since, wait) => {
      const on = await until(since, wait);
      canvas.classList.add("on");
      const off = await until(on, times.exposure);
      canvas.classList.remove("on");
      return { exposure: off - on, off };
    };
    const first = await show(canvases[0], start, times.lead);
    const second = await show(canvases[1], first.off, times.gap);
    fix.hidden = true;
    return {
      exposure_first_ms: rounded(first.exposure),
      exposure_second_ms: rounded(second.exposure),
      frame_ms: rounded(median(frames)),
    };
  }

  async choose({ ask, buttons }) {
    ask.textContent = "Which one had fake colors?";
    ask.hidden = false;
    buttons.classList.remove("off");
    // Responses are accepted from the moment the choice is visible; they are timed from its first frame.
    let shown = performance.now();
    frame().then((now) => (shown = now));
    return new Promise((resolve) => {
      const done = (response, input) => {
        this.jsPsych.pluginAPI.cancelKeyboardResponse(keys);
        resolve({ response, input, reaction_ms: rounded(Math.max(0, performance.now() - shown)) });
      };
      const keys = this.jsPsych.pluginAPI.getKeyboardResponse({
        callback_function: ({ key }) => done(["1", "arrowleft"].includes(key.toLowerCase()) ? "first" : "second", "key"),
        valid_responses: ["1", "2", "arrowleft", "arrowright"],
        persist: false,
        allow_held_key: false,
      });
      for (const button of buttons.children) {
        button.addEventListener(
          "click",
          (event) => {
            // A button pressed by Enter or space makes a click without a pointer.
            const kinds = { mouse: "mouse", touch: "touch", pen: "touch" };
            done(button.value, event.detail === 0 ? "key" : (kinds[event.pointerType] ?? "mouse"));
          },
          { once: true },
        );
      }
    });
  }

  async feedback({ display, ask, buttons }, response, correct) {
    const fake = correct ? response : response === "first" ? "second" : "first";
    ask.textContent = correct
      ? `Right: the ${fake} one had fake colors.`
      : `Not this time: the ${fake} one had fake colors.`;
    ask.classList.add(correct ? "right" : "wrong");
    ask.hidden = false;
    const next = document.createElement("div");
    next.className = "next";
    next.innerHTML = '<button type="button" class="main">Next pair</button>';
    buttons.replaceWith(next);
    const button = next.firstChild;
    // It stays until the participant continues, which may be at once, but not by the second click of a double click.
    button.disabled = true;
    await new Promise((resolve) => setTimeout(resolve, MEANT));
    button.disabled = false;
    button.focus();
    await new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
    display.replaceChildren();
  }
}
