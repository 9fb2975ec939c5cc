//go:build browser

package main

import (
	"context"
	"testing"
)

// TestSDK runs the published SDK against the program. The versions and their
// environments share one installation and one browser.
func TestSDK(t *testing.T) {
	folder, browser := install(t), startBrowser(t)
	inBrowser := func(test func(*testing.T, *program, context.Context)) func(*testing.T, *program) {
		return func(t *testing.T, p *program) { test(t, p, browser) }
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, *program)
	}{
		{"NodeFlow", testNodeFlow},
		{"Node", testNode},
		{"Chromium", inBrowser(testChromium)},
		{"Login", inBrowser(testLogin)},
		{"Tabs", inBrowser(testTabs)},
		{"LostAnswers", inBrowser(testLostAnswers)},
		{"Calls", inBrowser(testCalls)},
		{"Origin", inBrowser(testOrigin)},
		{"Page3", inBrowser(testPage3)},
		{"Page2", inBrowser(testPage2)},
		{"Categories", inBrowser(testCategories)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, start(t, folder))
		})
	}
}
