// Keeps the page for use without a network.

// Registers the service worker and waits until it has stored every file, so that the large ones are loaded once only.
//
// Returns whether the page works offline; it does not where the browser offers no service worker, as on plain http://.
export async function keepOffline() {
  if (!navigator.serviceWorker) return false;
  const registration = await navigator.serviceWorker.register("sw.js");
  const worker = registration.active ?? registration.waiting ?? registration.installing;
  const done = ["activated", "redundant"];
  if (!done.includes(worker.state)) {
    await new Promise((resolve) => worker.addEventListener("statechange", () => done.includes(worker.state) && resolve()));
  }
  return worker.state === "activated";
}
