import { useMutation, useQueryClient } from "@tanstack/react-query";
import { changeRun, type RunChange } from "~/run/actions";
import { failed } from "~/ui/toast";

/** Changes a run's tags or note; ``done`` is called once the server has it. */
export function useChange(id: string, done: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (change: RunChange) => changeRun(id, change),
    onSuccess: (run) => {
      client.setQueryData(["run", id], run);
      void client.invalidateQueries({ queryKey: ["runs"] });
      done();
    },
    onError: failed,
  });
}
