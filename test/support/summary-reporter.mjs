/**
 * Prints `N passed, N failed` (and `, N skipped`) alone on the very last line, for whoever reads the run by
 * its end. It prints when the process exits: the default reporter writes its own summary before.
 */
export default class SummaryReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      if (module.errors().length > 0) count.failed++;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) count.failed++;
      for (const test of module.children.allTests()) count[test.result().state]++;
    }
    this.line = `${count.passed} passed, ${count.failed} failed`;
    const skipped = count.skipped + count.pending;
    if (skipped > 0) this.line += `, ${skipped} skipped`;
    if (this.listening) return;
    this.listening = true; // a watching vitest runs more than once
    process.on("exit", () => console.log(this.line));
  }
}
