/** What a workflow gave earlier: ComfyUI keeps it until it is restarted or its history is cleared. */

import { api } from "../../scripts/api.js";

/** So many of the workflow's latest jobs are looked at. */
const MOST_JOBS = 5;

/** The id of graphs that have none of their own, as those of API-format files. */
const NO_ID = "00000000-0000-0000-0000-000000000000";

/**
 * @typedef {object} PastJob
 * @property {number} ended_ms Since 1970.
 * @property {Record<string, Record<string, any[]>>} outputs By execution id and key.
 */

/**
 * The finished jobs of a workflow, latest first, each fetched when it is asked for.
 *
 * @param {string | undefined} workflowId
 * @returns {AsyncGenerator<PastJob>}
 */
export async function* pastJobs(workflowId) {
  if (!workflowId || workflowId === NO_ID) return;
  const query = new URLSearchParams({
    workflow_id: workflowId,
    status: "completed,failed,cancelled",
    limit: `${MOST_JOBS}`,
  });
  const list = await get(`/jobs?${query}`);
  for (const { id, outputs_count } of list?.jobs ?? []) {
    const job = outputs_count ? await get(`/jobs/${id}`) : undefined;
    if (job) yield { ended_ms: job.execution_end_time, outputs: job.outputs };
  }
}

/**
 * @param {string} route
 * @returns {Promise<any>} Undefined where the server does not answer, or does not have it.
 */
async function get(route) {
  const response = await api.fetchApi(route).catch(() => undefined);
  return response?.ok ? response.json() : undefined;
}
