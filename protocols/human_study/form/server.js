// Requests to the server. A request without a response is repeated until it has one: each of them may arrive twice
// without harm.

const WAITS = [0.5, 1, 2, 4, 8]; // seconds
const trouble = document.getElementById("trouble");
let token = null;

export class Refused extends Error {
  constructor(status, body) {
    super(body.detail ?? "The server could not process this.");
    this.status = status;
  }
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

async function request(path, options) {
  for (let attempt = 0; ; attempt++) {
    let response = null;
    try {
      response = await fetch(new URL(path, document.baseURI), {
        ...options,
        cache: "no-store",
        credentials: "omit",
        referrerPolicy: "no-referrer",
        headers: { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) },
      });
    } catch {
      // No connection: the same as a server that is being restarted.
    }
    if (response !== null && response.status !== 429 && response.status < 500) {
      trouble.hidden = true;
      return response;
    }
    if (attempt >= 2) {
      trouble.textContent = "The connection is interrupted. Nothing is lost; reconnecting …";
      trouble.hidden = false;
    }
    const asked = Number(response?.headers.get("Retry-After")) || 0;
    await pause(Math.max(asked, WAITS[Math.min(attempt, WAITS.length - 1)] * (0.75 + Math.random() / 2)));
  }
}

export async function post(path, body = {}) {
  const response = await request(`api/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const reply = await response.json();
  if (!response.ok) throw new Refused(response.status, reply);
  return reply;
}

export async function stimulus(trial, position) {
  const response = await request(`api/stimuli/${trial}/${position}`, { method: "GET" });
  if (!response.ok) throw new Refused(response.status, await response.json());
  return createImageBitmap(await response.blob());
}

// The participant: the parameters of a platform in the address, an id from the laboratory, or none.
function identity() {
  const given = new URLSearchParams(location.search);
  if (given.has("PROLIFIC_PID")) {
    const session = given.get("SESSION_ID") ?? "";
    return { platform: "prolific", worker: given.get("PROLIFIC_PID"), session, given: session };
  }
  if (given.has("assignmentId") || given.has("hitId")) {
    const assignment = given.get("assignmentId") ?? "";
    const preview = assignment === "" || assignment === "ASSIGNMENT_ID_NOT_AVAILABLE";
    return {
      platform: "mturk",
      worker: given.get("workerId") ?? "",
      session: assignment,
      given: assignment,
      submit_to: given.get("turkSubmitTo") ?? "",
      preview,
    };
  }
  return { platform: "lab", worker: given.get("participant") ?? "" };
}

export const who = identity();

// Saved values survive a reload. Without an id they last as long as the tab: the next participant at this computer is another.
const shelf = () => (who.worker ? localStorage : sessionStorage);
const label = (name) => `study ${location.pathname} ${who.platform} ${who.worker} ${who.given ?? ""} ${name}`;
const saved = {
  get(name) {
    try { return shelf().getItem(label(name)); } catch { return null; } // storage is switched off
  },
  set(name, value) {
    try { shelf().setItem(label(name), value); } catch { /* the session then ends with the page */ }
  },
};

// A laboratory has no secret: the page draws one at random, so that a consent that arrives twice counts once.
function session() {
  if (who.session) return who.session;
  const drawn = saved.get("session") ?? Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("");
  saved.set("session", drawn);
  who.session = drawn;
  return drawn;
}

const participant = () => ({ platform: who.platform, worker: who.worker, session: session() });

export async function begin() {
  token = saved.get("token");
  const known = await post("begin", { who: participant() });
  token = known.token;
  if (token) saved.set("token", token);
  return known;
}

export async function consent(client) {
  ({ token } = await post("consent", { who: participant(), adult: true, agreed: true, client }));
  saved.set("token", token);
}
