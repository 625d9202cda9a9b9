// `ampoule completion`: scripts for the shell, and the hidden `complete` they call back.

import tab from "@bomb.sh/tab/commander";
import type { Command } from "commander";
import { examples } from "../help.ts";

/** Reads the tree, so it comes after every other command. */
export function addCompletion(program: Command): void {
  tab(program, { completionCommandName: "completion" });
  const command = program.commands.find((found) => found.name() === "completion");
  if (command === undefined) return;
  command.description("print a completion script for a shell");
  examples(command, [
    ["source <(ampoule completion bash)", "for this shell; put it into ~/.bashrc for every one"],
    ["ampoule completion fish > ~/.config/fish/completions/ampoule.fish", "for every fish"],
  ]);
}
