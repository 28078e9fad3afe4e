// Requests to flow-shim. If it has printed a token, it is in the page's fragment, which no request carries by itself.

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname);
}

function headers() {
  const token = sessionStorage.getItem("token");
  return { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) };
}

async function refused(response) {
  let detail = `${response.status} ${response.statusText}`;
  try {
    detail = (await response.json()).detail ?? detail;
  } catch {
    // Not one of its own answers.
  }
  if (Array.isArray(detail)) detail = detail.map((it) => `${it.loc?.slice(1).join(".") || "body"}: ${it.msg}`).join("; ");
  const hint = response.status === 401 ? " (open the address that flow-shim has printed: it has the token)" : "";
  return new Error(detail + hint);
}

async function send(path, body, signal) {
  const init = body === undefined ? { headers: headers() } : { method: "POST", headers: headers(), body: JSON.stringify(body), signal };
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("flow-shim does not answer: is it still running?");
  }
  if (!response.ok) throw await refused(response);
  return response;
}

/** The answer, and what it has cost, for people. */
export async function ask(path, body, signal) {
  const response = await send(path, body, signal);
  const timing = /dur=(\d+);desc="(\w+)"/.exec(response.headers.get("server-timing") ?? "");
  const cost = timing && `${(timing[1] / 1000).toFixed(1)} s${timing[2] === "started" ? ", with the start of the CDK" : ""}`;
  return { value: await response.json(), cost };
}

/** Calls `take` with each line of a response that comes little by little. */
export async function stream(path, body, take, signal) {
  const response = await send(path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? "";
    const lines = rest.split("\n");
    rest = lines.pop();
    lines.filter(Boolean).forEach((line) => take(JSON.parse(line)));
    if (done) return;
  }
}
