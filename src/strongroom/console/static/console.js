// The one script of the console: asks the browser for a passkey and puts its answer into the form.
// It writes text only, loads nothing and sends nothing by itself; forms do.
"use strict";

(() => {
  const bytes = (text) => {
    const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, (char) => char.charCodeAt(0));
  };

  const text = (buffer) => {
    const plain = String.fromCharCode(...new Uint8Array(buffer));
    return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };

  const listed = (credentials) =>
    (credentials || []).map((one) => ({ ...one, id: bytes(one.id) }));

  const forGet = (options) => ({
    ...options,
    challenge: bytes(options.challenge),
    allowCredentials: listed(options.allowCredentials),
  });

  const forCreate = (options) => ({
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: listed(options.excludeCredentials),
  });

  const told = (credential) => {
    const answer = credential.response;
    const response = { clientDataJSON: text(answer.clientDataJSON) };
    if (answer.attestationObject) {
      response.attestationObject = text(answer.attestationObject);
      response.transports = answer.getTransports ? answer.getTransports() : [];
    } else {
      response.authenticatorData = text(answer.authenticatorData);
      response.signature = text(answer.signature);
      if (answer.userHandle) {
        response.userHandle = text(answer.userHandle);
      }
    }
    return JSON.stringify({
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      authenticatorAttachment: credential.authenticatorAttachment || undefined,
      clientExtensionResults: {},
      response,
    });
  };

  const ask = async (form) => {
    const options = JSON.parse(form.dataset.options);
    const credential = form.dataset.passkey === "create"
      ? await navigator.credentials.create({ publicKey: forCreate(options) })
      : await navigator.credentials.get({ publicKey: forGet(options) });
    form.elements.namedItem("response").value = told(credential);
    form.submit();
  };

  const watch = (form) => {
    const message = form.querySelector("[data-message]");
    const button = form.querySelector("button");
    if (!window.PublicKeyCredential) {
      message.textContent = "This browser cannot use passkeys.";
      return;
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      button.disabled = true;
      message.textContent = "Waiting for your passkey …";
      ask(form).catch(() => {
        button.disabled = false;
        message.textContent = "The passkey was not used. Try again, or use another way.";
      });
    });
  };

  document.querySelectorAll("form[data-passkey]").forEach(watch);
  document.querySelectorAll("form[data-forward]").forEach((form) => form.submit());
})();
