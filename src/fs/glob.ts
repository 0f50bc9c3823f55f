/**
 * Whether `text` as a whole matches a pattern, in which `*` stands for any characters and `?` for
 * one. A star takes as little as it can. When the rest does not match, only the last star takes
 * one more character: so the time is bounded by the product of the two lengths.
 */
export function matchesGlob(text: string, pattern: string): boolean {
  let at = 0;
  let inPattern = 0;
  let afterStar = -1;
  let starEnd = 0;
  while (at < text.length) {
    const char = pattern[inPattern];
    if (char === '*') {
      afterStar = ++inPattern;
      starEnd = at;
    } else if (char === '?' || char === text[at]) {
      inPattern++;
      at++;
    } else if (afterStar !== -1) {
      inPattern = afterStar;
      at = ++starEnd;
    } else return false;
  }
  while (pattern[inPattern] === '*') inPattern++;
  return inPattern === pattern.length;
}
