package archtest

import (
	"slices"
	"strings"
)

// services is the order of the packages that do the provider's work: each may
// import those of the groups before its own, so that there is one direction to
// read in.
func services() [][]string {
	return [][]string{
		{"telemetry"},
		{"ratelimit"},
		{"secrets", "messages", "pkce", "outbound"},
		{"outbox", "device", "consent"},
		{"verification", "password"},
		{"session", "account"},
		{"fositestore"},
		{"oauthcore"},
		{"page", "web"},
	}
}

// doors are the packages that answer requests. They import services; only
// provider, which mounts them, imports a door.
func doors() []string { return []string{"endpoint", "interact", "cloudbase"} }

func orderRules() []Rule {
	return []Rule{{
		Name:  "internal-packages-have-a-place",
		Right: "merge it into a service or a door, or, when it has an invariant of its own, give it its place in services() or doors() of archtest",
		check: perFile(hasPlace),
	}, {
		Name:  "services-look-one-way",
		Right: "a service imports only services that stand before it; take an interface, or move the code to the later one",
		check: perFile(oneWay),
	}, {
		Name:  "doors-stand-apart",
		Right: "steps of a flow meet in stored state, not by calling each other: what two doors share is a service, and only provider mounts a door",
		check: perFile(apart),
	}}
}

// inner is the first folder below provider/internal in name, or "".
func inner(name string) string {
	below, ok := strings.CutPrefix(name, "provider/internal/")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(below, "/")
	return first
}

// place is the place of a service in the order, or -1.
func place(service string) int {
	return slices.IndexFunc(services(), func(group []string) bool { return slices.Contains(group, service) })
}

func hasPlace(f *file) []Fault {
	name := inner(f.dir)
	if name == "" || name == "archtest" || place(name) >= 0 || slices.Contains(doors(), name) {
		return nil
	}
	return []Fault{f.fault(0, "package %s has no place among the services and doors", f.dir)}
}

func oneWay(f *file) []Fault {
	from := place(inner(f.dir))
	if from < 0 {
		return nil
	}
	var faults []Fault
	for _, in := range f.ours {
		if to := place(inner(in.path)); to >= from && inner(in.path) != inner(f.dir) {
			faults = append(faults, f.fault(in.line, "service %s imports %s", inner(f.dir), inner(in.path)))
		}
	}
	return faults
}

func apart(f *file) []Fault {
	var faults []Fault
	for _, in := range f.ours {
		door := inner(in.path)
		if slices.Contains(doors(), door) && door != inner(f.dir) && f.dir != "provider" {
			faults = append(faults, f.fault(in.line, "%s imports the door %s", f.dir, door))
		}
	}
	return faults
}
