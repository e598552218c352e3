import { type Json } from "./json.js";
import { Table } from "./table.js";

/**
 * `edgekit.json` of schema 1.x, whose bundles hold one graph that embeds text, in the words of 2.0; any other
 * major version is given back as it is.
 *
 * @throws RecordError A key that moves is missing or of the wrong type.
 */
export function upgraded(table: Table): Table {
  const version = table.has("schema_version") ? table.raw("schema_version") : null;
  const match = typeof version === "string" ? /^1\.(\d{1,4})$/.exec(version) : null;
  if (!match) return table;
  const values = new Map<string, Json>(table.names().map((name) => [name, table.raw(name)]));
  const moved = (names: string[]): Map<string, Json> =>
    new Map(
      names.map((name) => {
        const value = table.raw(name); // says so where it is missing
        values.delete(name);
        return [name, value];
      }),
    );
  values.set("schema_version", `2.${match[1]}`);
  values.set("components", new Map([["model", moved(["inputs", "outputs"])]]));
  values.set("settings", moved(["text", "embedding"]));
  values.set("variants", table.tables("variants", 256).map(variant));
  return new Table(values, table.path);
}

function variant(table: Table): Json {
  const values = new Map<string, Json>(table.names().map((name) => [name, table.raw(name)]));
  values.set("graphs", new Map([["model", table.string("model_file")]]));
  table.number("self_test_cosine", { minimum: -1, maximum: 1 });
  values.set("self_test_min", table.raw("self_test_cosine"));
  values.delete("model_file");
  values.delete("self_test_cosine");
  return values;
}
