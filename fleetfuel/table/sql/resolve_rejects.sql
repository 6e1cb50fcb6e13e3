-- Refused records that this run loaded ($2: their reject_ids), or that its complete snapshot ($3: its key) no longer holds.
update fuel.rejects
set resolved_at = now(), resolved_by = $1
where resolved_at is null
  and last_run_id <> $1
  and (reject_id = any ($2::text::bigint[]) or source_key = $3::text)
