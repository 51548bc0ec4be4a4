// One player for the page, places in the waveform, and lists that change without a reload. Every form works without it.
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const player = document.querySelector("[data-player]");
  if (!player) return;
  const audio = player.querySelector("[data-audio]");
  const title = player.querySelector("[data-player-title]");
  const say = document.querySelector("[data-say]");
  const wave = document.querySelector("[data-wave]");
  let playing = null;

  const announce = (text) => { say.textContent = ""; setTimeout(() => { say.textContent = text; }, 50); };

  function load(button, seconds) {
    if (playing !== button.dataset.track) {
      playing = button.dataset.track;
      audio.src = button.dataset.play;
      title.textContent = player.dataset.playing.replace("%s", () => button.dataset.title);
      player.hidden = false;
    }
    if (seconds !== null) {
      const seek = () => { audio.currentTime = seconds; };
      if (audio.readyState > 0) seek(); else audio.addEventListener("loadedmetadata", seek, { once: true });
    }
    audio.play().catch(() => {});
  }

  function show() {
    for (const button of all(".play")) {
      const on = button.dataset.track === playing && !audio.paused;
      button.classList.toggle("on", on);
      button.setAttribute("aria-label", on ? button.dataset.playingLabel : button.dataset.idleLabel);
    }
  }
  for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, show);
  audio.addEventListener("error", () => {
    const converted = "?converted=true";
    if (playing !== null && !audio.src.endsWith(converted)) {
      audio.src += converted; // the server can make something of it that every browser plays
      audio.play().catch(() => {});
    } else {
      title.textContent = player.dataset.broken;
      announce(player.dataset.broken);
    }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-play]");
    if (!button) return;
    if (button.dataset.seek !== undefined) return load(button, Number(button.dataset.seek));
    if (playing === button.dataset.track && !audio.paused) return audio.pause();
    load(button, null);
  });

  if (wave) {
    const past = wave.querySelector("[data-wave-past]");
    const own = document.querySelector(".hero-play .play");
    audio.addEventListener("timeupdate", () => {
      if (own && playing === own.dataset.track) past.setAttribute("width", String(1000 * audio.currentTime / Number(wave.dataset.length)));
    });
    if (own) wave.addEventListener("click", (event) => {
      const box = wave.getBoundingClientRect();
      load(own, (event.clientX - box.left) / box.width * Number(wave.dataset.length));
    });
  }

  const list = document.querySelector("[data-list]");
  if (!list) return;
  list.addEventListener("submit", async (event) => {
    const form = event.target.closest("[data-event]");
    if (!form) return;
    event.preventDefault();
    const fields = new FormData(form);
    fields.set("action", event.submitter ? event.submitter.value : "played");
    if (playing === fields.get("track")) {
      fields.set("seconds", String(audio.currentTime));
      audio.pause();
    }
    const place = all("[data-pick]", list).indexOf(form.closest("[data-pick]"));
    list.classList.add("busy");
    for (const button of all("button", form)) button.disabled = true;
    try {
      const answer = await fetch(form.getAttribute("action"), {
        method: "POST", body: new URLSearchParams(fields), credentials: "same-origin",
        headers: { "x-csrf-token": document.body.dataset.csrf, "x-room-part": "list" },
      });
      if (!answer.ok) throw new Error(String(answer.status));
      list.innerHTML = await answer.text();
      show();
      announce(list.querySelector("[data-news]").textContent);
      const picks = all("[data-pick]", list);
      const next = picks[Math.min(place, picks.length - 1)];
      if (next) next.querySelector("h2 a").focus({ preventScroll: true });
    } catch {
      announce(document.body.dataset.failed);
      title.textContent = document.body.dataset.failed;
      player.hidden = false;
      for (const button of all("button", form)) button.disabled = false;
    } finally {
      list.classList.remove("busy");
    }
  });
})();
