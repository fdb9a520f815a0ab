// Whom anomalies are told to, and a sample to each of them.
import { Failure, callApi } from "./api.js";
import { empty, fill, h, icon, table } from "./dom.js";

export function notificationsCard() {
  const body = h("div");
  const card = h("section", { class: "card", "aria-labelledby": "notifications" }, h("h2", { id: "notifications" }, "Notifications"), body);
  show(body);
  return card;
}

async function show(body) {
  const routes = await callApi("/notify/routes").catch((error) => error);
  if (routes instanceof Failure) {
    fill(body, empty("Nobody is told of anomalies from here.", routes.remedy || routes.message));
    if (routes.status === 401) setTimeout(() => show(body), 3000); // until the token is there
    return;
  }
  const outcome = h("div", { "aria-live": "polite" });
  fill(body, h("div", { class: "wide" }, table("Routes of notifications", [{ text: "Route" }, { text: "Tells" }, { text: "" }], routes.map((route) => [
    route.name, route.targets.map((target) => target.address).join(", "), testButton(route.name, outcome),
  ]))), outcome);
}

function testButton(route, outcome) {
  const button = h("button", { type: "button", "aria-label": `Send a test to ${route}`, onclick: async () => {
    button.disabled = true;
    fill(outcome, h("p", {}, `Sending a test to ${route} …`));
    const answer = await callApi("/notify/test", { route }).catch((error) => error);
    fill(outcome, answer instanceof Failure ? said({ accepted: false, address: route, error: answer.message }) : answer.results.map(said));
    button.disabled = false;
  } }, "Send a test");
  return button;
}

function said(result) {
  return h("p", {}, icon(result.accepted ? "CALM" : "WARNING"), result.accepted ? ` ${result.address} took it.` : ` ${result.address}: ${result.error}`);
}
