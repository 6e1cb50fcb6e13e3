-- The rules that `migrate` proved and synced: file and digest.
select file, digest from fuel.rules_state
