// What every view knows: the fleet, its state, the rate of readings. Views listen to "change".
import { Failure, get, poll } from "./api.js";

const RATE_MS = 12_000;

export const store = new (class extends EventTarget {
  devices = [];
  byId = new Map();
  loaded = false;
  state = null;
  failure = null;
  rate = null;
  offset = 0; // of the server's clock to ours, ms
  #version = null;
  #samples = [];

  start() {
    this.poller = poll(() => this.#look(), 2000);
  }

  now() { return Date.now() + this.offset; }

  async #look() {
    try {
      const state = await get("/state");
      if (state.version !== this.#version) await this.#load(state.version);
      this.offset = state.now - Date.now();
      this.state = state;
      this.#measure(state);
      this.#apply(state);
      this.failure = null;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.failure = error;
    }
    this.dispatchEvent(new Event("change"));
  }

  async #load(version) {
    const fleet = await get("/fleet");
    this.devices = fleet.id.map((id, at) => describe(id, fleet.name[at], fleet.type[at], fleet.place[at]));
    this.byId = new Map(this.devices.map((device) => [device.id, device]));
    this.#version = fleet.version;
    this.loaded = true;
    this.dispatchEvent(new Event("fleet"));
  }

  #apply(state) {
    for (const device of this.devices) {
      Object.assign(device, NOTHING);
    }
    for (const [id, [critical, warning, info, kind, metric, severity, opened]] of Object.entries(state.open)) {
      let device = this.byId.get(id);
      if (!device) {
        device = describe(id, "", "", "");
        this.devices.push(device);
        this.byId.set(id, device);
      }
      Object.assign(device, { critical, warning, info, kind, metric, severity, opened });
      device.rank = critical ? 4 : warning ? 3 : 2;
    }
    for (const [id, readings] of Object.entries(state.warming)) {
      const device = this.byId.get(id);
      if (device) Object.assign(device, { warming: readings, rank: Math.max(device.rank, 1) });
    }
  }

  #measure(state) {
    const stored = state.topics.filter((topic) => topic.topic === state.readings)
      .reduce((sum, topic) => sum + topic.stored + topic.duplicates + topic.dead_letters, 0);
    this.#samples = this.#samples.filter(([at]) => state.now - at < RATE_MS);
    this.#samples.push([state.now, stored]);
    const [at, first] = this.#samples[0];
    this.rate = state.now - at > 1000 ? Math.max(0, (stored - first) / (state.now - at) * 1000) : this.rate;
  }
})();

const NOTHING = { critical: 0, warning: 0, info: 0, kind: null, metric: null, severity: null, opened: 0, warming: null, rank: 0 };

function describe(id, name, type, place) {
  return { id, name, type, place, text: `${id}\n${name}\n${type}\n${place}`.toLowerCase(), ...NOTHING };
}
