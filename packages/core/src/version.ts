/** The version of this package, as package.json has it: handles are taken by the same version only. */
export const packageVersion = "0.1.0";
