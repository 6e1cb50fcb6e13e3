-- Whether a transaction ($1) is still under way. A server that took over from the one that began it may not know it: then
-- its number is not yet given out there. (The snapshot's xmax says less: what is under way may lie above it.)
select case
    when $1::text::xid8 < pg_current_xact_id() then pg_xact_status($1::text::xid8) = 'in progress'
    else false
end as is_open
