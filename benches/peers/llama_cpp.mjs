// Decode and prefill tokens/s of llama.cpp on one GGUF file, as JSON on standard output.
//
// usage: node llama_cpp_decode.mjs MODEL.gguf PROMPT_FILE TOKENS THREADS
// needs: npm i node-llama-cpp@3.21.1 @node-llama-cpp/linux-x64@3.21.1 (prebuilt, no compiler), in the
//        folder that this is run from or one above it.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [file, promptFile, tokens, threads] = process.argv.slice(2);
const require = createRequire(pathToFileURL(process.cwd() + "/"));
const { getLlama } = await import(pathToFileURL(require.resolve("node-llama-cpp")));

const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: "error" });
const model = await llama.loadModel({ modelPath: file });
const context = await model.createContext({ contextSize: 4096, batchSize: 512, threads: Number(threads) });
const sequence = context.getSequence();
const prompt = model.tokenize(readFileSync(promptFile, "utf8"), true);
const want = Number(tokens);

const started = performance.now();
let firstAt = 0;
let made = 0;
for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
  made += 1;
  if (made === 1) firstAt = performance.now();
  if (made > want) break;
}
const ended = performance.now();
console.log(JSON.stringify({
  prompt_tokens: prompt.length,
  prefill_tokens_per_s: prompt.length / ((firstAt - started) / 1000),
  decode_tokens: made - 1,
  decode_tokens_per_s: (made - 1) / ((ended - firstAt) / 1000),
}));
process.exit(0);
