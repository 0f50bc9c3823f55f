/** More of a message helps nobody: a name in it may be as long as the file. */
const MAX_LENGTH = 500;

/** Says in one line what is wrong with a scenario. For a file it names the file and the line first. */
export class ScenarioError extends Error {
  override readonly name = 'ScenarioError';

  constructor(message: string) {
    // Names in it come from the file, and may contain anything.
    super(message.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').slice(0, MAX_LENGTH));
  }
}
