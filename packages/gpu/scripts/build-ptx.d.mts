/** The path of the compiler, or a line that says why there is none. */
export function findClang(): { readonly clang?: string; readonly missing?: string };
/** The PTX text, without comments and indentation. */
export function buildPtx(clang: string): string;
