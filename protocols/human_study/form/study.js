// The session: consent, screening, loading, instructions, practice, trials, and the end. The jsPsych timeline starts at
// the stage that the server reports for this participant.

import { PairPlugin } from "./pair.js";
import { ScreenPlugin, choices } from "./screen.js";
import { Refused, begin, consent, stimulus, post, who } from "./server.js";

const AT_ONCE = 4; // stimuli fetched at a time
const stage = document.getElementById("stage");
const byId = (id) => document.getElementById(id);

function message(title, ...paragraphs) {
  byId("top").hidden = true;
  const box = document.createElement("div");
  box.className = "screen";
  const head = document.createElement("h1");
  Object.assign(head, { textContent: title, tabIndex: -1 });
  box.append(head);
  for (const text of paragraphs) {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    box.append(paragraph);
  }
  stage.replaceChildren(box);
  head.focus();
  return box;
}

function progress(text, share) {
  byId("where").textContent = text;
  byId("progress").firstElementChild.style.width = `${100 * share}%`;
  byId("progress").setAttribute("aria-valuenow", Math.round(100 * share));
}

// Ends the session with a reason. jsPsych would continue with the next trial, so nothing is returned to it.
function stop(title, ...paragraphs) {
  message(title, ...paragraphs);
  return new Promise(() => {});
}

async function guarded(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Refused) return stop("The study cannot continue", error.message);
    throw error;
  }
}

function client() {
  return {
    screen_width: screen.width,
    screen_height: screen.height,
    window_width: innerWidth,
    window_height: innerHeight,
    pixel_ratio: devicePixelRatio,
    touch: navigator.maxTouchPoints > 0,
  };
}

const consentScreen = (known) => ({
  type: ScreenPlugin,
  html: known.texts.consent,
  fields: () =>
    choices("", "", [
      ["adult", "I am 18 years old or older."],
      ["agreed", "I have read this and want to take part."],
    ], { type: "checkbox" }),
  buttons: [
    { name: "agree", label: "Take part", main: true },
    { name: "decline", label: "No, thank you", skip: true },
  ],
  send: async (button) => {
    if (button === "agree") {
      await guarded(consent(client()));
      return offerWithdrawal();
    }
    const { redirect, next } = await guarded(post("decline", { platform: who.platform }));
    if (redirect) location.assign(redirect);
    const then = (!redirect && next) || "You can close this page.";
    return stop("Thank you", `You have not taken part, and nothing is stored. ${then}`);
  },
});

function screeningScreens(known) {
  const responses = { color_vision: "unsaid", plates: [] };
  const vision = {
    type: ScreenPlugin,
    html: "<h1>Your color vision</h1><p>This helps to describe the participants. There is no wrong answer.</p>",
    fields: () =>
      choices("vision", "Do you see all colors as most people do?", [
        ["normal", "Yes, as far as I know"],
        ["deficient", "No, I have a color vision deficiency"],
        ["unsure", "I am not sure"],
        ["unsaid", "I would rather not say"],
      ]),
    send: async (_, values) => {
      responses.color_vision = values.vision;
      if (known.plates === 0) await guarded(post("screening", responses));
    },
  };
  const plate = (number) => ({
    type: ScreenPlugin,
    html: `<h1>Which digit do you see?</h1>
      <p class="hint">Image ${number} of ${known.plates}. A quick look is enough. This is not a medical test.</p>
      <img class="plate" src="plate-${number}.png" width="320" height="320"
        alt="Colored dots in which a digit may be seen">`,
    look: "plated",
    fields: () => choices("digit", "The digit", [...[..."23457"].map((d) => [d, d]), ["none", "None"]], { row: true }),
    send: async (_, values) => {
      responses.plates.push(values.digit);
      if (responses.plates.length === known.plates) await guarded(post("screening", responses));
    },
  });
  return [vision, ...Array.from({ length: known.plates }, (_, i) => plate(i + 1))];
}

// No trial starts before every image of the session is loaded and decoded.
async function load(display, from, total, stimuli) {
  display.innerHTML = `<div class="screen"><h1>Loading the images</h1><div class="bar"><span></span></div>
    <p class="hint" role="status">This takes a moment. The study starts when all images are loaded.</p></div>`;
  const bar = display.querySelector(".bar span");
  const wanted = [];
  for (let trial = from; trial < total; trial++) for (const place of [1, 2]) wanted.push([trial, place]);
  let done = 0;
  const work = async () => {
    for (let next = wanted.shift(); next; next = wanted.shift()) {
      const [trial, place] = next;
      (stimuli[trial] ??= [])[place - 1] = await stimulus(trial, place);
      done += 1;
      bar.style.width = `${(100 * done) / (2 * (total - from))}%`;
    }
  };
  await guarded(Promise.all(Array.from({ length: AT_ONCE }, work)));
}

function pairTrial(known, index, stimuli) {
  const practice = index < known.practice;
  const [number, count] = practice ? [index, known.practice] : [index - known.practice, known.total - known.practice];
  return {
    type: PairPlugin,
    stimuli: () => stimuli[index],
    times: known.times,
    practice,
    started: () => {
      progress(`${practice ? "Practice pair" : "Pair"} ${number + 1} of ${count}`, index / known.total);
      post("started", { trial: index }).catch(() => {});
    },
    send: async (data) => guarded(post("responses", { trial: index, ...data })),
    on_finish: () => {
      for (const bitmap of stimuli[index]) bitmap.close();
      delete stimuli[index];
    },
  };
}

function finalScreen({ debrief, code, redirect, submit }) {
  const box = message("Thank you");
  box.innerHTML = `${debrief}<h2>Your completion code</h2><p class="code"></p>`;
  box.querySelector(".code").textContent = code;
  if (redirect) {
    const link = document.createElement("form");
    link.innerHTML = '<div class="buttons"><button class="main">Return to Prolific</button></div>';
    link.addEventListener("submit", (event) => (event.preventDefault(), location.assign(redirect)));
    box.append(link);
  } else if (submit) {
    const form = document.createElement("form");
    Object.assign(form, { method: "POST", action: submit });
    for (const [name, value] of [["assignmentId", who.session], ["code", code]]) {
      form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    }
    form.insertAdjacentHTML("beforeend", '<div class="buttons"><button class="main">Submit the HIT</button></div>');
    box.append(form);
  } else {
    box.insertAdjacentHTML("beforeend", '<p class="hint">Everything is saved. You can close this page.</p>');
  }
  const head = box.querySelector("h1");
  head.tabIndex = -1;
  head.focus();
}

// Shows the button on every page from now on.
function offerWithdrawal() {
  byId("foot").hidden = false;
  byId("withdraw").addEventListener("click", () => byId("sure").showModal());
  byId("stay").addEventListener("click", () => byId("sure").close());
  byId("leave").addEventListener("click", async () => {
    await post("withdraw");
    byId("sure").close();
    byId("foot").hidden = true;
    message("You have withdrawn", "All your data is deleted. You can close this page.");
  });
}

async function main() {
  if (who.preview) {
    const { title, texts } = await post("preview");
    document.title = title;
    message(title).innerHTML = `${texts.consent}<p class="hint">This is a preview. Accept the HIT to take part.</p>`;
    return;
  }
  const known = await begin();
  document.title = known.title;
  if (known.stage !== "new") offerWithdrawal();
  if (known.stage === "complete") return finalScreen(await post("finish", { submit_to: who.submit_to ?? "" }));

  const stimuli = {};
  stage.replaceChildren();
  const jsPsych = initJsPsych({ display_element: stage });
  const timeline = [];
  if (known.stage === "new") timeline.push(consentScreen(known));
  if (known.stage !== "ready") timeline.push(...screeningScreens(known));
  timeline.push({
    type: jsPsychCallFunction,
    async: true,
    func: (done) => load(jsPsych.getDisplayElement(), known.next, known.total, stimuli).then(done),
  });
  timeline.push({
    type: ScreenPlugin,
    html: known.next === 0 ? known.texts.instructions : "<h1>Welcome back</h1><p>You continue where you stopped.</p>",
    buttons: [{ name: "start", label: known.next === 0 ? "Start" : "Continue", main: true }],
  });
  for (let index = known.next; index < known.total; index++) {
    if (index === known.practice && known.practice > 0 && index > known.next) {
      timeline.push({
        type: ScreenPlugin,
        html: `<h1>Practice is over</h1><p>Now ${known.total - known.practice} pairs follow, without feedback. There is no time
          limit for an answer: take a break before any answer if you like.</p>`,
        buttons: [{ name: "start", label: "Start", main: true }],
      });
    }
    timeline.push({ ...pairTrial(known, index, stimuli), on_start: () => (byId("top").hidden = false) });
  }
  await jsPsych.run(timeline);
  finalScreen(await guarded(post("finish", { submit_to: who.submit_to ?? "" })));
}

main().catch((error) => {
  if (error instanceof Refused) message("Sorry", error.message);
  else {
    message("Something went wrong", "Please reload the page: you continue where you stopped.");
    throw error;
  }
});
