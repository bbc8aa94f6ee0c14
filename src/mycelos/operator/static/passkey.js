"use strict";
// The page's one script. It asks the browser for a passkey and sends what comes back in the form that it stands in;
// everything else here works without it.

const SENTENCES = {
  InvalidStateError: "This passkey is enrolled already.",
  NotAllowedError: "No passkey was used: it was cancelled, it took too long, or there is none here for this page.",
  SecurityError: "Passkeys do not work at this address.",
};

async function answerOf(ceremony, options) {
  if (ceremony === "create") {
    return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
  }
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
}

// Not <noscript>: a script that is blocked or does not arrive leaves the words standing as well.
for (const words of document.querySelectorAll("[data-without-script]")) {
  words.hidden = true;
}
for (const form of document.querySelectorAll("form[data-passkey]")) {
  const problem = form.querySelector("[role=alert]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    try {
      const credential = await answerOf(form.dataset.passkey, JSON.parse(form.dataset.options));
      form.elements.credential.value = JSON.stringify(credential.toJSON());
    } catch (error) {
      problem.textContent = SENTENCES[error.name] ?? "This browser cannot use passkeys here. Sign in with a link.";
      problem.hidden = false;
      return;
    }
    form.submit();
  });
}
