import { defined } from '../assert.ts';

type Test<T> = (value: T) => boolean;

/** A test, and the index of the step that follows either outcome; PASS and FAIL are the ends. */
interface Step<T> {
  readonly test: Test<T>;
  ifTrue: number;
  ifFalse: number;
}

const PASS = -1;
const FAIL = -2;

/** A jump that has no destination yet. */
type Jump = (to: number) => void;

/** The jumps that leave an expression. */
interface Exits {
  readonly whenTrue: readonly Jump[];
  readonly whenFalse: readonly Jump[];
}

/** A pair of parentheses, or the whole expression. */
interface Group {
  readonly negated: boolean;
  /** The jumps of each alternative that was true. */
  readonly whenTrue: Jump[];
  /** The jumps of the current conjunction's terms that were false. */
  whenFalse: Jump[];
}

const newGroup = (negated: boolean): Group => ({ negated, whenTrue: [], whenFalse: [] });
const swapped = ({ whenTrue, whenFalse }: Exits): Exits => ({
  whenTrue: whenFalse,
  whenFalse: whenTrue,
});

/**
 * A boolean expression as a list of tests with jumps forward, as the kernel's filters are. It is
 * built from left to right: a jump waits for its destination until the reader comes there. So
 * neither the building nor the running recurses, however deep the parentheses are.
 */
export class FilterProgram<T> {
  readonly #steps: Step<T>[] = [];
  readonly #outerGroups: Group[] = [];
  #group = newGroup(false);
  #last: Exits = { whenTrue: [], whenFalse: [] };
  #negated = false;

  /** Whether there is no test yet. */
  get isEmpty(): boolean {
    return this.#steps.length === 0;
  }

  /** `!`, before a test or a parenthesis. */
  not(): void {
    this.#negated = !this.#negated;
  }

  /** `(` */
  open(): void {
    this.#outerGroups.push(this.#group);
    this.#group = newGroup(this.#negated);
    this.#negated = false;
  }

  term(test: Test<T>): void {
    const step = { test, ifTrue: FAIL, ifFalse: FAIL };
    this.#steps.push(step);
    this.#leave(this.#negated, {
      whenTrue: [(to) => (step.ifTrue = to)],
      whenFalse: [(to) => (step.ifFalse = to)],
    });
    this.#negated = false;
  }

  /** `&&`: only what was true goes on to the next test. */
  and(): void {
    land(this.#last.whenTrue, this.#steps.length);
    this.#group.whenFalse.push(...this.#last.whenFalse);
  }

  /** `||`: what was false in this conjunction goes on to the next one. */
  or(): void {
    this.#group.whenTrue.push(...this.#last.whenTrue);
    land([...this.#group.whenFalse, ...this.#last.whenFalse], this.#steps.length);
    this.#group.whenFalse = [];
  }

  /** `)` */
  close(): void {
    const { negated, whenTrue, whenFalse } = this.#group;
    this.#leave(negated, {
      whenTrue: [...whenTrue, ...this.#last.whenTrue],
      whenFalse: [...whenFalse, ...this.#last.whenFalse],
    });
    this.#group = this.#outerGroups.pop() ?? newGroup(false);
  }

  /** The expression is complete. */
  end(): Test<T> {
    this.close();
    land(this.#last.whenTrue, PASS);
    land(this.#last.whenFalse, FAIL);
    const steps = this.#steps;
    return (value) => {
      let at = 0;
      while (at >= 0) {
        const { test, ifTrue, ifFalse } = defined(steps[at], 'a step of the filter');
        at = test(value) ? ifTrue : ifFalse;
      }
      return at === PASS;
    };
  }

  #leave(negated: boolean, exits: Exits): void {
    this.#last = negated ? swapped(exits) : exits;
  }
}

function land(jumps: readonly Jump[], at: number): void {
  for (const jump of jumps) jump(at);
}
