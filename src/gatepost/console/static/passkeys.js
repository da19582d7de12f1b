// Passkeys: hands the gateway's question to the browser's authenticator, and its answer back in the form.
"use strict";
(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const known = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

  const make = async (options) => {
    const made = await navigator.credentials.create({ publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: known(options.excludeCredentials),
    } });
    return { id: made.id, rawId: text(made.rawId), type: made.type, clientExtensionResults: {}, response: {
      clientDataJSON: text(made.response.clientDataJSON),
      attestationObject: text(made.response.attestationObject),
      transports: made.response.getTransports ? made.response.getTransports() : [],
    } };
  };

  const use = async (options) => {
    const used = await navigator.credentials.get({ publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      allowCredentials: known(options.allowCredentials),
    } });
    return { id: used.id, rawId: text(used.rawId), type: used.type, clientExtensionResults: {}, response: {
      clientDataJSON: text(used.response.clientDataJSON),
      authenticatorData: text(used.response.authenticatorData),
      signature: text(used.response.signature),
      userHandle: used.response.userHandle ? text(used.response.userHandle) : null,
    } };
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const told = form.querySelector("[data-passkey-told]");
    told.textContent = "";
    const start = form.querySelector("[data-passkey-start]");
    start.addEventListener("click", async () => {
      if (!window.PublicKeyCredential) {
        told.textContent = "This browser has no passkeys here: they need HTTPS.";
        return;
      }
      try {
        told.textContent = "Waiting for your passkey …";
        const options = JSON.parse(form.dataset.options);
        const making = form.dataset.passkey === "make";
        const answer = await (making ? make(options) : use(options));
        form.elements.namedItem(making ? "attestation" : "assertion").value = JSON.stringify(answer);
        form.submit();
      } catch (error) {
        told.textContent = "The passkey did not answer. Try again.";
      }
    });
    start.disabled = false; // not before it does anything
  }
})();
