/**
 * The state of the boards while somebody looks: asked for once, then pushed over the page's websocket.
 * What does not come is asked for again.
 */

/**
 * As measure/live.py has it.
 *
 * @typedef {{job_id: string, is_running: boolean, duration_s: number}} Job
 * @typedef {Record<string, any> & {device: string, name: string}} Reading
 * @typedef {{cpu_share: number | null, ram_used_bytes: number, ram_total_bytes: number}} Host
 * @typedef {{sequence: number, devices: Reading[], job: Job | null, cost_share: number | null,
 *   host?: Host | null}} State
 *
 * `starting`: no reading yet. `paused`: nobody looks. `lost`: no answer; it is tried again.
 * @typedef {"starting" | "live" | "paused" | "lost"} Status
 *
 * @typedef {object} Feed
 * @property {() => void} update Look again whether anybody looks, and how often.
 * @property {() => void} retry Ask at once if the server has not answered.
 * @property {(state: State) => void} pushed A reading came by itself.
 */

const LONGEST_WAIT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 5_000;

/** A push may come so much later than after two intervals before it is asked for. */
const PUSH_DELAY_MS = 1_000;

/**
 * @param {object} options
 * @param {(body: object, signal?: AbortSignal) => Promise<Response>} options.post
 * @param {() => boolean} options.isWanted Whether anything is there to be shown.
 * @param {() => string | undefined} options.socket The id of the page's websocket.
 * @param {() => number} options.intervalS Seconds from one reading to the next.
 * @param {(state: State) => void} options.onState Called once for each new reading.
 * @param {(status: Status) => void} options.onStatus Called on each change.
 * @returns {Feed}
 */
export function createFeed({ post, isWanted, socket, intervalS, onState, onStatus }) {
  const watcher = `page-${Math.random().toString(36).slice(2)}`;
  /** @type {Status} */
  let status = "paused";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let isAsking = false;
  let failures = 0;
  let sequence = 0;
  let toldIntervalS = 0;

  /** @param {Status} next */
  function become(next) {
    if (next !== status) onStatus((status = next));
  }

  const isWatching = () => !document.hidden && isWanted();

  async function ask() {
    clearTimeout(timer);
    if (isAsking) return;
    isAsking = true;
    toldIntervalS = intervalS();
    try {
      const response = await post(
        { watcher, interval_s: toldIntervalS, push: socket() },
        AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      );
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      take(await response.json());
    } catch {
      // Offline, restarted, asleep: whatever it is, the next answer ends it.
      failures += 1;
      become("lost");
    } finally {
      isAsking = false;
    }
    if (isWatching()) timer = setTimeout(ask, waitMs());
    else pause();
  }

  /** Until the first reading is there the interval is waited, then two of them for each push. */
  function waitMs() {
    const intervalMs = 1000 * intervalS();
    if (status === "starting") return intervalMs;
    if (!failures) return 2 * intervalMs + PUSH_DELAY_MS;
    return Math.max(intervalMs, Math.min(intervalMs * 2 ** failures, LONGEST_WAIT_MS));
  }

  /** @param {State | null} state */
  function take(state) {
    failures = 0;
    if (!isWatching()) return;
    become(state ? "live" : "starting");
    if (!state || state.sequence === sequence) return;
    sequence = state.sequence;
    onState(state);
  }

  function pause() {
    clearTimeout(timer);
    if (status === "paused") return;
    become("paused");
    // Where this is lost, the server notices by itself within seconds.
    if (!failures) post({ watcher, leave: true }).catch(() => {});
  }

  function update() {
    if (!isWatching()) pause();
    else if (status === "paused") {
      become("starting");
      ask();
    }
  }

  document.addEventListener("visibilitychange", update);
  return {
    update,
    retry() {
      if (status === "lost" && isWatching()) ask();
    },
    pushed(state) {
      if (status === "paused" || isAsking || !isWatching()) return;
      clearTimeout(timer);
      take(state);
      timer = setTimeout(ask, intervalS() === toldIntervalS ? waitMs() : 0);
    },
  };
}
