import { expect, test } from 'vitest';
import { UndoStack } from '../../src/daemon/undo-stack.ts';

test('undoes everything once, last first, even when a step fails', async () => {
  const undo = new UndoStack();
  const undone: string[] = [];
  for (const name of ['memory', 'threads', 'mount']) {
    undo.push(name, () => {
      undone.push(name);
      if (name === 'threads') throw new Error('stuck');
    });
  }
  const failed: string[] = [];
  const report = (step: string): void => void failed.push(step);
  await undo.unwind(report);
  await undo.unwind(report);
  expect(undone).toEqual(['mount', 'threads', 'memory']);
  expect(failed).toEqual(['threads']);
});
