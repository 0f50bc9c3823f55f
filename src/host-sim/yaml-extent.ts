import { type Alias, isAlias, isCollection, isNode, isPair, type Node } from 'yaml';

const MAX_NODES = 20_000;
const MAX_DEPTH = 64;

/** What a node stands for, with all that its aliases repeat. */
interface Extent {
  readonly nodes: number;
  readonly depth: number;
}

const EMPTY: Extent = { nodes: 0, depth: 0 };

/** What is wrong with a document, and the offset in its text. */
interface ExtentProblem {
  readonly offset: number;
  readonly message: string;
}

/** Finds aliases that lead nowhere, or into themselves, or make the document large or deep. */
export function checkExtent(root: unknown): ExtentProblem | undefined {
  try {
    new ExtentWalk().visit(root, 0);
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return { offset: error.offset, message: error.message };
    throw error;
  }
}

class Refusal extends Error {
  readonly offset: number;

  constructor(node: unknown, message: string) {
    super(message);
    this.offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
  }
}

/** Each node is visited once, in the order of the text, and an alias costs no more than a look-up. */
class ExtentWalk {
  /** By anchor, its node so far: the text may use a name again. */
  readonly #anchors = new Map<string, Node>();
  /** Of the nodes that were left again. */
  readonly #extents = new Map<Node, Extent>();

  /** `level` is that in the text, so the recursion is bounded. */
  visit(node: unknown, level: number): Extent {
    if (isPair(node)) return sum([this.visit(node.key, level), this.visit(node.value, level)]);
    if (!isNode(node)) return EMPTY; // A key without a value.
    if (isAlias(node)) return this.#target(node);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (level > MAX_DEPTH) throw tooDeep(node);
    const inner = isCollection(node)
      ? sum(node.items.map((item) => this.visit(item, level + 1)))
      : EMPTY;
    const extent = { nodes: inner.nodes + 1, depth: inner.depth + 1 };
    if (extent.depth > MAX_DEPTH) throw tooDeep(node);
    if (extent.nodes > MAX_NODES)
      throw new Refusal(
        node,
        `expected at most ${MAX_NODES} values, aliases counted as what they repeat`,
      );
    this.#extents.set(node, extent);
    return extent;
  }

  #target(alias: Alias): Extent {
    const target = this.#anchors.get(alias.source);
    if (!target) throw new Refusal(alias, `expected an anchor &${alias.source} above its alias`);
    const extent = this.#extents.get(target);
    if (!extent) throw new Refusal(alias, `expected *${alias.source} outside of what it repeats`);
    return extent;
  }
}

const tooDeep = (node: unknown): Refusal =>
  new Refusal(node, `expected lists and maps that nest at most ${MAX_DEPTH} deep`);

const sum = (extents: readonly Extent[]): Extent =>
  extents.reduce(
    (total, { nodes, depth }) => ({
      nodes: total.nodes + nodes,
      depth: Math.max(total.depth, depth),
    }),
    EMPTY,
  );
