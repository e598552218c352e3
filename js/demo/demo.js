import { EdgekitError, load } from "edgekit";

/** What is asked and shown for a task. */
const TASKS = {
  "feature-extraction": {
    first: ["Sentence", "A man is eating food."],
    second: [
      "Compare with, one a line",
      "A man is eating a piece of bread.\nThe girl is carrying a baby.\nSomeone has a meal.",
    ],
    async answer(model, sentence, lines) {
      const others = lines.split("\n").filter((line) => line.trim());
      const found = await model.similarity(sentence, others);
      return others.map((text, place) => [text, found[place]]).sort((a, b) => b[1] - a[1]);
    },
  },
  "text-classification": {
    first: ["Text", "The film was a joy from the first minute."],
    async answer(model, text) {
      return (await model.run(text, { top_k: 5 })).map(({ label, score }) => [label, score]);
    },
  },
  "token-classification": {
    first: ["Text", "Maria Lopez flew from Paris to Rio de Janeiro."],
    async answer(model, text) {
      const found = await model.run(text, { aggregation_strategy: "simple" });
      return found.map(({ entity_group: group, score, start, end }) => [`${text.slice(start, end)} · ${group}`, score]);
    },
  },
  "question-answering": {
    first: ["Question", "Where did the cat sit?"],
    second: ["Context", "The old cat sat on a mat in Paris. It was late, and the street was empty."],
    async answer(model, question, context) {
      const found = await model.run({ question, context }, { top_k: 3 });
      return [found].flat().map(({ answer, score }) => [answer, score]);
    },
  },
};

const at = (id) => document.getElementById(id);
let model;

at("where").value = new URLSearchParams(location.search).get("bundle") ?? "";
at("open").addEventListener("submit", (event) => guarded(event, open));
at("ask").addEventListener("submit", (event) => guarded(event, answer));
if (at("where").value) at("open").requestSubmit();

async function open() {
  await model?.close();
  model = undefined;
  at("ask").hidden = true;
  at("answer").replaceChildren();
  at("timing").hidden = true;
  const files = [];
  show(at("facts"), [["Status", "reading and verifying …"]]);
  const began = performance.now();
  try {
    model = await load(at("where").value, { onVerified: (path, size) => files.push([path, bytes(size)]) });
    const loaded = performance.now() - began;
    const test = await model.selfTest();
    const all = model.manifest.files.length + 1;
    show(at("facts"), [
      ["Digests", `${files.length} of ${all} files read, each as listed`, "good"],
      [
        "Self-test",
        `${test.cases} golden case${test.cases === 1 ? "" : "s"}, agreement ${test.worst.toFixed(5)} (at least ${test.bound})`,
        test.passed ? "good" : "bad",
      ],
      ["Model", `${model.manifest.name} ${model.manifest.version} · ${model.manifest.task}`],
      ["Variant", `${model.variant.name} · ${model.variant.precision} · ${model.provider}`],
      ["Opened in", `${milliseconds(loaded)}, self-test ${milliseconds(test.seconds * 1000)}`],
      ["Bundle", model.manifestSha256, "mono"],
    ]);
    ask(TASKS[model.manifest.task]);
  } finally {
    show(at("files").querySelector("dl"), files);
    at("files").hidden = !files.length;
  }
}

function ask({ first, second }) {
  at("first-name").textContent = first[0];
  at("first").value = first[1];
  at("second-part").hidden = !second;
  if (second) {
    at("second-name").textContent = second[0];
    at("second").value = second[1];
  }
  at("ask").hidden = false;
}

async function answer() {
  const began = performance.now();
  const found = await TASKS[model.manifest.task].answer(model, at("first").value, at("second").value);
  const took = performance.now() - began;
  const none = document.createElement("li");
  none.textContent = "Nothing found.";
  at("answer").replaceChildren(...(found.length ? found.map(([text, score]) => row(text, score)) : [none]));
  show(at("timing"), [["Answered in", milliseconds(took)]]);
}

function row(text, score) {
  const item = document.createElement("li");
  item.style.setProperty("--share", `${Math.max(0, Math.min(1, score)) * 100}%`);
  for (const part of [text, score.toFixed(3)])
    item.append(Object.assign(document.createElement("span"), { textContent: part }));
  return item;
}

/** Run what a form asks for, with its button off meanwhile; an error is shown with its kind and hint. */
async function guarded(event, act) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    await act();
  } catch (error) {
    const kind = error instanceof EdgekitError ? error.kind : error.name;
    const place = act === open ? at("facts") : at("timing");
    const hint = error.hint ? [["Try", error.hint]] : [];
    show(place, [["Refused", kind, "bad"], ["Reason", error.message], ...hint]);
  } finally {
    button.disabled = false;
  }
}

function show(list, facts) {
  list.replaceChildren(
    ...facts.flatMap(([name, value, style = ""]) => [
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: value, className: style }),
    ]),
  );
  list.hidden = false;
}

function bytes(size) {
  return size < 10_000 ? `${size} B` : size < 1e7 ? `${(size / 1e3).toFixed(0)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

function milliseconds(took) {
  return took < 10
    ? `${took.toFixed(1)} ms`
    : took < 10_000
      ? `${took.toFixed(0)} ms`
      : `${(took / 1000).toFixed(1)} s`;
}
