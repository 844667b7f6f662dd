/** Finding nodes in a graph and in the subgraphs within it. */

/**
 * @param {any} rootGraph
 * @param {string} executionId A node's id, after those of the subgraphs that it lies in: `7:3`.
 * @returns {any[]} The subgraphs' nodes and the node; empty where the graph has no such node.
 */
export function pathTo(rootGraph, executionId) {
  const path = [];
  let graph = rootGraph;
  for (const id of executionId.split(":")) {
    const node = graph?.getNodeById(id);
    if (!node) return [];
    path.push(node);
    graph = node.subgraph;
  }
  return path;
}

/** @param {any} rootGraph @returns {any[]} Its nodes and those of its subgraphs. */
export function allNodes(rootGraph) {
  return [rootGraph, ...rootGraph.subgraphs.values()].flatMap((graph) => graph.nodes);
}
