// What k6 has and @types/k6 does not say.
declare const console: { error(text: string): void };
