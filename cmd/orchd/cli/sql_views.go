package cli

import (
	"fmt"
	"slices"
	"strings"
)

// view is a question that many ask, ready to be asked.
type view struct {
	name  string
	about string
	needs []string // tables, changes, history.TABLE
	sql   string
}

// readyViews are all of them. In "moment" they find the log index and the time that is
// asked about: what holds still holds until then. Amounts are those of the VMs'
// specs: a VM takes them from when it is recorded until it is gone, running or not.
var readyViews = []view{
	{"free_capacity", "what may still be promised on each host", []string{"peers", "vms"}, `
SELECT p.name AS host, p.schedulable, count(v.id) AS vms,
       p.capacity.vcpus * coalesce(p.ratios.vcpus_percent, 100) // 100 - coalesce(sum(v.spec.vcpus), 0) AS free_vcpus,
       p.capacity.memory_mib * coalesce(p.ratios.memory_percent, 100) // 100 - coalesce(sum(v.spec.memory_mib), 0) AS free_memory_mib,
       p.capacity.disk_gib * coalesce(p.ratios.disk_percent, 100) // 100 - coalesce(sum(v.spec.disk_gib), 0) AS free_disk_gib
FROM main.peers p LEFT JOIN main.vms v ON v.status.owner_id = p.id
WHERE p.state = 'member' AND p.driver <> 'none'
GROUP BY p.name, p.schedulable, p.capacity, p.ratios ORDER BY p.name`},

	{"vms_by_hour", "VMs of each account in each hour, and how many of them ran", []string{"history.vms"}, `
SELECT account, hour, count(DISTINCT id) AS vms, count(DISTINCT id) FILTER (state = 'running') AS running
FROM (SELECT id, account, status.state AS state, coalesce(valid_to, m.time) AS until,
             unnest(generate_series(date_trunc('hour', valid_from), coalesce(valid_to, m.time), INTERVAL 1 HOUR)) AS hour
      FROM history.vms, main.moment m)
WHERE hour < until GROUP BY ALL ORDER BY ALL`},

	{"vm_uptime", "how long each VM has been running, and how long it has been known", []string{"history.vms"}, `
SELECT id, arg_max(account, "index") AS account, arg_max(name, "index") AS name, min(created_at) AS created_at,
       CASE WHEN count(*) = count(valid_to) THEN max(valid_to) END AS gone_at,
       round(coalesce(sum(hours) FILTER (state = 'running'), 0), 3) AS up_hours, round(sum(hours), 3) AS known_hours
FROM (SELECT *, status.state AS state, epoch(coalesce(valid_to, m.time) - valid_from) / 3600 AS hours FROM history.vms, main.moment m)
GROUP BY id ORDER BY created_at, id`},

	{"address_holders", "who had which IP address, from when to when", []string{"history.compute_nodes", "history.bmcs", "history.ethernet_interfaces"}, `
WITH held AS (
  SELECT unnest(list_concat([boot_ipv4_address, boot_ipv6_address],
           flatten(list_transform(coalesce(network_interfaces, []), lambda i: [i.ipv4_address, i.ipv6_address])))) AS address,
         'compute_nodes' AS "table", id AS key, coalesce(xname, hostname) AS holder, valid_from, valid_to FROM history.compute_nodes
  UNION ALL SELECT unnest([ipv4_address, ipv6_address]), 'bmcs', id, coalesce(xname, id), valid_from, valid_to FROM history.bmcs
  UNION ALL SELECT unnest(list_transform(coalesce(IPAddresses, []), lambda a: a.IPAddress)), 'ethernet_interfaces', ID,
         coalesce(ComponentID, ID), valid_from, valid_to FROM history.ethernet_interfaces),
begun AS (
  SELECT *, valid_from <= max(coalesce(valid_to, 'infinity')) OVER before AS goes_on FROM (SELECT DISTINCT * FROM held WHERE address IS NOT NULL)
  WINDOW before AS (PARTITION BY address, "table", key, holder ORDER BY valid_from ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
numbered AS (
  SELECT *, count(*) FILTER (goes_on IS NOT TRUE) OVER (PARTITION BY address, "table", key, holder ORDER BY valid_from) AS run FROM begun)
SELECT address, "table", key, holder, min(valid_from) AS valid_from,
       CASE WHEN count(*) = count(valid_to) THEN max(valid_to) END AS valid_to
FROM numbered GROUP BY address, "table", key, holder, run ORDER BY address, min(valid_from)`},

	{"nodes_without_bmc", "compute nodes of which no BMC is known", []string{"compute_nodes"}, `
SELECT id, hostname, xname, architecture, created_at FROM main.compute_nodes WHERE bmc IS NULL ORDER BY xname, hostname`},

	{"usage_by_month", "vCPU-hours and GiB-hours of each account in each month", []string{"history.vms"}, `
SELECT account, month, round(sum(vcpus * hours), 3) AS vcpu_hours, round(sum(memory_mib / 1024 * hours), 3) AS memory_gib_hours,
       round(sum(coalesce(disk_gib, 0) * hours), 3) AS disk_gib_hours
FROM (SELECT account, month, spec.vcpus AS vcpus, spec.memory_mib AS memory_mib, spec.disk_gib AS disk_gib, ` + hoursInMonth + `
      FROM (SELECT *, ` + monthsOf + ` FROM history.vms, main.moment m))
WHERE hours > 0 GROUP BY ALL ORDER BY ALL`},

	{"address_hours_by_month", "IP addresses in use in each month, and for how many hours in all", []string{"address_holders"}, `
SELECT month, "table", count(DISTINCT address) AS addresses, round(sum(hours), 3) AS address_hours
FROM (SELECT *, ` + hoursInMonth + ` FROM (SELECT *, ` + monthsOf + ` FROM main.address_holders, main.moment m))
WHERE hours > 0 GROUP BY ALL ORDER BY ALL`},
}

// monthsOf are the months that a version touches, and when it ended.
const monthsOf = `coalesce(valid_to, m.time) AS until,
       unnest(generate_series(date_trunc('month', valid_from), coalesce(valid_to, m.time), INTERVAL 1 MONTH)) AS month`

// hoursInMonth is how long of a month it held.
const hoursInMonth = `epoch(least(until, month + INTERVAL 1 MONTH) - greatest(valid_from, month)) / 3600 AS hours`

// stands tells whether all that a view needs is there.
func (v view) stands(w wanted) bool {
	return !slices.ContainsFunc(v.needs, func(need string) bool {
		for _, other := range readyViews {
			if other.name == need {
				return !other.stands(w)
			}
		}
		return !w.has(need)
	})
}

// describeViews is a line of help for each view.
func describeViews() string {
	var b strings.Builder
	for _, v := range readyViews {
		fmt.Fprintf(&b, "  %-24s %s\n", v.name, v.about)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// wrapped lists words in lines that fit a screen.
func wrapped(words []string) string {
	var b strings.Builder
	column := len("Tables: ")
	for i, w := range words {
		if i > 0 {
			b.WriteByte(',')
		}
		if column += len(w) + 2; column > 88 {
			b.WriteString("\n ")
			column = len(w) + 4
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	return b.String()
}

// sqlText is a text as SQL writes it.
func sqlText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// viewAs declares a view.
func viewAs(name, about, sql string) string {
	declared := fmt.Sprintf("CREATE VIEW %s AS %s;\n", name, strings.TrimSpace(sql))
	return declared + fmt.Sprintf("COMMENT ON VIEW %s IS %s;\n", name, sqlText(about))
}
