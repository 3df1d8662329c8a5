// Globals of k6 that @types/k6 does not declare.
declare const console: { error(text: string): void };
