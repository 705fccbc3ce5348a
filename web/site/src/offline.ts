/** The service worker: the site works without a network, and its answers carry the headers that threads need. */

/** Register it. A page that came without the headers is loaded once more through it, unless something has been done. */
export function prepareOffline(): void {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return;
  const app = document.querySelector<HTMLElement>("#app")!;
  const reloadOnce = (): void => {
    const isUntouched = app.dataset["empty"] === "true";
    if (crossOriginIsolated || !isUntouched || sessionStorage.getItem("isolated") !== null) return;
    sessionStorage.setItem("isolated", "tried");
    location.reload();
  };
  navigator.serviceWorker.addEventListener("controllerchange", reloadOnce);
  void navigator.serviceWorker.register("sw.js", { type: "module" });
}

/** Whether loading the page once more brings the headers that threads need. */
export function canBeIsolated(): boolean {
  return !crossOriginIsolated && navigator.serviceWorker?.controller != null;
}
