-- Whether a transaction ($1) is still under way; a server that took over from the one that began it may not know it.
select case
    when $1::text::xid8 < pg_snapshot_xmax(pg_current_snapshot()) then pg_xact_status($1::text::xid8) = 'in progress'
    else false
end as is_open
