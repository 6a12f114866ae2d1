// A jsPsych plugin for text screens: a text, optional questions, and buttons. Ends with the name of the button and the
// values of the form.

const Type = jsPsychModule.ParameterType;

export class ScreenPlugin {
  static info = {
    name: "screen",
    version: "1.0.0",
    parameters: {
      html: { type: Type.HTML_STRING, default: "" },
      look: { type: Type.STRING, default: "" },
      fields: { type: Type.FUNCTION, default: null }, // () -> element with inputs
      buttons: { type: Type.COMPLEX, default: [{ name: "next", label: "Continue", main: true }] },
      send: { type: Type.FUNCTION, default: null }, // (button, values) -> promise; waited for before the screen ends
    },
    data: { button: { type: Type.STRING } },
  };

  constructor(jsPsych) {
    this.jsPsych = jsPsych;
  }

  trial(display, trial) {
    const form = document.createElement("form");
    form.className = `screen ${trial.look}`;
    form.innerHTML = trial.html;
    if (trial.fields) form.append(trial.fields());
    const row = document.createElement("div");
    row.className = "buttons";
    for (const { name, label, main = false, skip = false } of trial.buttons) {
      const button = document.createElement("button");
      Object.assign(button, { type: "submit", name, textContent: label, formNoValidate: skip });
      if (main) button.classList.add("main");
      row.append(button);
    }
    form.append(row);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const values = Object.fromEntries(new FormData(form));
      for (const button of row.children) button.disabled = true;
      if (trial.send) await trial.send(event.submitter.name, values);
      this.jsPsych.finishTrial({ button: event.submitter.name });
    });
    display.replaceChildren(form);
    const head = form.querySelector("h1");
    window.scrollTo(0, 0);
    if (head) {
      head.tabIndex = -1;
      head.focus({ preventScroll: true });
    }
  }
}

export function choices(name, legend, options, { type = "radio", required = true, row = false } = {}) {
  const set = document.createElement("fieldset");
  if (row) set.className = "row";
  if (legend) {
    const head = document.createElement("legend");
    head.textContent = legend;
    if (row) head.className = "unseen";
    set.append(head);
  }
  for (const [value, text] of options) {
    const label = document.createElement("label");
    label.className = "choice";
    const input = document.createElement("input");
    Object.assign(input, { type, name: type === "radio" ? name : value, value, required });
    label.append(input, document.createTextNode(text));
    set.append(label);
  }
  return set;
}
