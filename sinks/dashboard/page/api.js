// Asking the server: the token where one is wanted, errors with their remedy, and no question while nobody looks.

const BASE = "/dashboard/data";
const TOKEN = "sigmawatch-token";

export class Failure extends Error {
  constructor(status, message, remedy) {
    super(message);
    this.status = status;
    this.remedy = remedy;
  }
}

export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

export async function get(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== null && one !== undefined && one !== "") query.append(name, one);
  }
  const text = query.toString();
  return ask(`${BASE}${path}${text ? `?${text}` : ""}`, {});
}

export async function post(path, body) {
  return ask(`${BASE}${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** A path of the API beside the page's own data; posts where there is a body. */
export async function callApi(path, body) {
  const posts = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return ask(`/api/v1${path}`, body === undefined ? {} : posts);
}

async function ask(address, options) {
  const token = sessionStorage.getItem(TOKEN);
  if (token) options.headers = { ...options.headers, Authorization: `Bearer ${token}` };
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Failure(0, "Sigmawatch does not answer", "Is `sigmawatch up` still running? The page tries again by itself.");
  }
  if (answer.status === 401) document.dispatchEvent(new CustomEvent("token-wanted"));
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Failure(answer.status, body.detail ?? `the server answers ${answer.status}`, body.remedy ?? "");
  return body;
}

/** Call an async function at once and then every `ms`, one at a time, while the tab is visible. Gives {stop, now}. */
export function poll(task, ms) {
  let timer = null, running = false, again = false, stopped = false;
  const period = () => (typeof ms === "function" ? ms() : ms);
  async function run() {
    clearTimeout(timer);
    if (stopped || document.hidden) return;
    if (running) { again = true; return; }
    running = true;
    try { await task(); } finally {
      running = false;
      if (!stopped) timer = setTimeout(run, again ? 0 : period());
      again = false;
    }
  }
  const seen = () => (document.hidden ? clearTimeout(timer) : run());
  document.addEventListener("visibilitychange", seen);
  run();
  return { now: run, stop() { stopped = true; clearTimeout(timer); document.removeEventListener("visibilitychange", seen); } };
}
