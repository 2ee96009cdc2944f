import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/** Everything that a package exports, types too, has a docstring. docs.test.ts looks after the examples. */

const packages = fileURLToPath(new URL("../../packages", import.meta.url));
const declaration = (name: string) =>
  `export (?:abstract |async )*(?:class|function|const|interface|type) (${name})\\b`;

/** The names that a module exports; those of modules that it exports whole, too. */
function namesOf(path: string): string[] {
  const text = readFileSync(path, "utf8");
  const own = [...text.matchAll(new RegExp(`^${declaration("\\w+")}`, "gm"))].map(([, name]) => name!);
  const passedOn = [...text.matchAll(/^export (?:type )?(\*|\{[^}]*\}) from "(\.[^"]+)";/gm)];
  return own.concat(
    passedOn.flatMap(([, what, from]) =>
      what === "*"
        ? namesOf(normalize(join(dirname(path), from!.replace(/\.js$/, ".ts"))))
        : what!.match(/\w+/g)!.filter((word) => word !== "type"),
    ),
  );
}

test.each(["core", "gpu", "workers"])("exports of @shardgrad/%s", (name) => {
  const sources = join(packages, name, "src");
  const names = [...new Set(namesOf(join(sources, "index.ts")))];
  const text = readdirSync(sources, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(sources, file), "utf8"))
    .join("\n");
  const ofOthers = /^export (?:type )?\{([^}]*)\} from "@shardgrad/gm;
  const elsewhere = [...text.matchAll(ofOthers)].flatMap(([, list]) => list!.match(/\w+/g)!);
  const documented = (exported: string) => new RegExp(`\\*/\n${declaration(exported)}`).test(text);
  expect(names.length).toBeGreaterThan(10);
  expect(names.filter((exported) => !elsewhere.includes(exported) && !documented(exported))).toEqual([]);
});
