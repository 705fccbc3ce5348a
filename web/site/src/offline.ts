/** The service worker: the site works without a network, and its answers carry the headers that threads need. */

/** What a page says to a new version of the service worker, which waits until no page needs the old one. */
export const TAKE_OVER = "take over";
const ASKED_TIMES = 10;
const ASK_AGAIN_MS = 1000;

/** Register it. A page on which nothing has been done is loaded once more where that brings threads or a new version. */
export function prepareOffline(): void {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return;
  const app = document.querySelector<HTMLElement>("#app")!;
  const wasControlled = navigator.serviceWorker.controller !== null;
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (app.dataset["empty"] !== "true") return;
    if (wasControlled) return location.reload(); // into the new version
    if (crossOriginIsolated || sessionStorage.getItem("isolated") !== null) return;
    sessionStorage.setItem("isolated", "tried");
    location.reload();
  });
  void navigator.serviceWorker.register("sw.js", { type: "module" }).then((registration) => {
    const ask = (times: number): void => {
      if (times === 0 || !registration.waiting || app.dataset["empty"] !== "true") return;
      registration.waiting.postMessage(TAKE_OVER);
      setTimeout(() => ask(times - 1), ASK_AGAIN_MS); // a page that was just closed may still count
    };
    ask(ASKED_TIMES);
  });
}

/** Whether loading the page once more brings the headers that threads need. */
export function canBeIsolated(): boolean {
  return !crossOriginIsolated && navigator.serviceWorker?.controller != null;
}
