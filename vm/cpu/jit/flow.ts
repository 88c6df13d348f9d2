/**
 * Control flow of a region: which blocks dominate which, and where loops are, so that a graph of jumps can
 * be written as WebAssembly's nested blocks and loops (after Norman Ramsey, "Beyond Relooper", 2022).
 */

/** A node's successors, by number; −1 leaves the region. */
export type Successors = readonly number[];

export interface Flow {
  /** Reachable nodes in reverse postorder. */
  readonly order: readonly number[];
  /** Position in that order. */
  readonly position: readonly number[];
  /** Children in the dominator tree that several forward edges meet in, last in order first. */
  readonly merges: readonly (readonly number[])[];
  readonly isLoop: readonly boolean[];
  readonly isMerge: readonly boolean[];
  /** The node before each, where there is but one way to it, which doesn't go round a loop; −1 where there isn't. */
  readonly before: readonly number[];
  /** Whether an edge goes back to the head of a loop around it. */
  isBack(from: number, to: number): boolean;
  /** Whether an edge can't be nested (it enters a loop sideways) and has to leave the region. */
  isCut(from: number, to: number): boolean;
}

/** @param successors - of each node; node 0 is where the region is entered */
export function analyse(successors: readonly Successors[]): Flow {
  const count = successors.length;
  const order = reversePostorder(successors);
  const position = new Array<number>(count).fill(-1);
  order.forEach((node, i) => {
    position[node] = i;
  });
  const predecessors: number[][] = Array.from({ length: count }, () => []);
  for (const node of order)
    for (const next of successors[node]!) if (next >= 0) predecessors[next]!.push(node);
  const dominator = dominators(order, position, predecessors);
  const dominates = (a: number, b: number): boolean => {
    let node = b;
    while (position[node]! > position[a]!) node = dominator[node]!;
    return node === a;
  };
  const isBack = (from: number, to: number): boolean =>
    position[to]! <= position[from]! && dominates(to, from);
  const isCut = (from: number, to: number): boolean =>
    position[to]! <= position[from]! && !dominates(to, from);
  const isLoop = new Array<boolean>(count).fill(false);
  const forward = new Array<number>(count).fill(0);
  const before = new Array<number>(count).fill(-1);
  for (const node of order) {
    for (const next of successors[node]!) {
      if (next < 0 || isCut(node, next)) continue;
      if (isBack(node, next)) isLoop[next] = true;
      else {
        forward[next] = forward[next]! + 1;
        before[next] = node;
      }
    }
  }
  const isMerge = forward.map((edges) => edges > 1);
  for (let node = 0; node < count; node++) if (isMerge[node] || isLoop[node]) before[node] = -1;
  const merges: number[][] = Array.from({ length: count }, () => []);
  for (const node of order) if (node !== 0 && isMerge[node]) merges[dominator[node]!]!.push(node);
  for (const list of merges) list.sort((a, b) => position[b]! - position[a]!);
  return { order, position, merges, isLoop, isMerge, before, isBack, isCut };
}

function reversePostorder(successors: readonly Successors[]): number[] {
  const seen = new Array<boolean>(successors.length).fill(false);
  const order: number[] = [];
  const stack: { node: number; next: number }[] = [{ node: 0, next: 0 }];
  seen[0] = true;
  while (stack.length > 0) {
    const top = stack.at(-1)!;
    const list = successors[top.node]!;
    if (top.next === list.length) {
      order.push(top.node);
      stack.pop();
      continue;
    }
    const next = list[top.next++]!;
    if (next < 0 || seen[next]) continue;
    seen[next] = true;
    stack.push({ node: next, next: 0 });
  }
  return order.reverse();
}

/** Immediate dominators, after Cooper, Harvey and Kennedy. */
function dominators(
  order: readonly number[],
  position: readonly number[],
  predecessors: readonly (readonly number[])[],
): number[] {
  const dominator = new Array<number>(predecessors.length).fill(-1);
  dominator[0] = 0;
  for (let changed = true; changed; ) {
    changed = false;
    for (const node of order) {
      if (node === 0) continue;
      let found = -1;
      for (const before of predecessors[node]!) {
        if (dominator[before] === -1) continue;
        if (found === -1) found = before;
        else {
          let a = before;
          let b = found;
          while (a !== b) {
            while (position[a]! > position[b]!) a = dominator[a]!;
            while (position[b]! > position[a]!) b = dominator[b]!;
          }
          found = a;
        }
      }
      if (found !== dominator[node]) {
        dominator[node] = found;
        changed = true;
      }
    }
  }
  return dominator;
}
