// Shows a run as it happens. Without this module the pages work too: they reload themselves.
// Text of models and tools is set as text only; nothing here writes HTML.

const run = document.querySelector("[data-run]");
const template = document.querySelector("#tool-card");

if (run && template && run.dataset.open === "yes") follow(run);

const composer = document.querySelector("form.write");
if (composer) {
  composer.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.target.tagName !== "TEXTAREA") return;
    event.preventDefault();
    if (event.target.value.trim()) composer.requestSubmit();
  });
  composer.addEventListener("submit", () => {
    for (const button of composer.querySelectorAll("button")) button.disabled = true;
  });
}
for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!window.confirm(form.dataset.confirm)) event.preventDefault();
  });
}
const thread = document.querySelector(".thread");
if (thread) window.scrollTo(0, document.body.scrollHeight);

function follow(place) {
  const cards = new Map();
  for (const card of place.querySelectorAll("[data-call]")) cards.set(card.dataset.call, card);
  const source = new EventSource(`/api/runs/${encodeURIComponent(place.dataset.run)}/events?after=${place.dataset.after}`);
  let words = null;

  const on = (kind, show) =>
    source.addEventListener(kind, (event) => {
      // An error of the connection has no data; the browser reconnects by itself and says where it was.
      if (typeof event.data !== "string") {
        if (source.readyState === EventSource.CLOSED) finish();
        return;
      }
      const stick = window.innerHeight + window.scrollY >= document.body.scrollHeight - 120;
      place.querySelector(".thinking")?.remove();
      // A run does one thing at a time: whatever follows, a person is waited for no longer.
      place.querySelector(".asking")?.remove();
      show(JSON.parse(event.data));
      if (stick) window.scrollTo(0, document.body.scrollHeight);
    });

  on("token", (data) => {
    if (!words) {
      words = document.createElement("div");
      words.className = "words raw";
      place.append(words);
    }
    words.append(data.text);
  });
  on("tool_call", (data) => {
    words = null;
    const card = template.content.firstElementChild.cloneNode(true);
    card.dataset.call = data.id;
    part(card, "name").textContent = data.tool;
    part(card, "brief").textContent = Object.values(data.args ?? {}).filter((value) => typeof value !== "object").join(" · ");
    part(card, "args").textContent = data.args === null ? "not a JSON object" : JSON.stringify(data.args, null, 2);
    cards.set(data.id, card);
    place.append(card);
  });
  on("tool_result", (data) => {
    words = null;
    const card = cards.get(data.id);
    if (!card) return;
    card.classList.remove("is-running");
    card.classList.add(data.ok ? "is-ok" : "is-refused");
    part(card, "sign").textContent = data.ok ? "✓" : "✕";
    part(card, "state").textContent = data.ok ? "done" : "refused";
    part(card, "state").classList.add(data.ok ? "good" : "bad");
    part(card, "content").textContent = data.content;
    part(card, "result").hidden = false;
    if (!data.ok) {
      part(card, "reason").textContent = data.content.replace(`Refused (${data.code}): `, "");
      part(card, "reason").hidden = false;
    }
  });
  on("approval", (data) => {
    words = null;
    const asking = document.querySelector("#asking").content.firstElementChild.cloneNode(true);
    part(asking, "tool").textContent = data.tool;
    place.append(asking);
  });
  on("done", finish);
  on("error", finish);

  // The stored page has the answer with its formatting, the reasons and the next steps.
  function finish() {
    source.close();
    window.location.replace(window.location.pathname);
  }
}

function part(card, name) {
  return card.querySelector(`[data-part="${name}"]`);
}
