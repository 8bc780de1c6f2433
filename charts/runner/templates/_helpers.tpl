{{- define "runner.name" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "runner.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "runner.labels" -}}
{{ include "runner.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "runner.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "runner.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "runner.name" .) "default" .Values.serviceAccount.create) }}
{{- end -}}

{{- define "runner.jobsNamespace" -}}
{{ .Values.jobsNamespace | default .Release.Namespace }}
{{- end -}}

{{/* Whether a runner looks for room before it asks for a job. */}}
{{- define "runner.capacityAware" -}}
{{- range $runner := get (fromToml .Values.config) "runners" | default list -}}
{{- if dig "kubernetes" "capacity_aware" false $runner -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the schema cannot say, or not in a sentence: there is a configuration and one token, it is TOML, and its jobs run where the Role is. */}}
{{- define "runner.check" -}}
{{- if not .Values.config }}{{ fail "config is empty: give a config.toml with --set-file config=config.toml." }}{{ end -}}
{{- if and .Values.token.value .Values.token.existingSecret }}{{ fail "token.value and token.existingSecret are both set: keep one of them." }}{{ end -}}
{{- if not (or .Values.token.value .Values.token.existingSecret) }}{{ fail "there is no token: name a Secret that has it with token.existingSecret, or give token.value." }}{{ end -}}
{{- $config := fromToml .Values.config -}}
{{- if hasKey $config "Error" }}{{ fail (printf "config is no TOML: %s" (get $config "Error")) }}{{ end -}}
{{- if not (get $config "runners") }}{{ fail "config has no [[runners]]." }}{{ end -}}
{{- if .Values.sessionServer.enabled -}}
{{- $listens := dig "session_server" "listen_address" "" $config -}}
{{- if not (hasSuffix (printf ":%d" (int .Values.sessionServer.internalPort)) $listens) -}}
{{- fail (printf "sessionServer is enabled, but config listens at %q: set listen_address in [session_server] to \"[::]:%d\"." $listens (int .Values.sessionServer.internalPort)) -}}
{{- end -}}
{{- if not (dig "session_server" "advertise_address" "" $config) -}}
{{- fail "sessionServer is enabled, but config does not say where GitLab reaches it: set advertise_address in [session_server]." -}}
{{- end -}}
{{- if gt (int .Values.replicas) 1 -}}
{{- fail "sessionServer is enabled with several replicas, and a Service leads to any of them: set replicas to 1, or install the chart once for each." -}}
{{- end -}}
{{- end -}}
{{- $wanted := include "runner.jobsNamespace" . -}}
{{- range $runner := get $config "runners" -}}
{{- $found := dig "kubernetes" "namespace" "default" $runner -}}
{{- if and $.Values.rbac.create (ne $found $wanted) -}}
{{- fail (printf "config: the runner %q has its jobs in the namespace %q, but the Role is made in %q: set namespace in [runners.kubernetes], or jobsNamespace." (get $runner "name") $found $wanted) -}}
{{- end -}}
{{- end -}}
{{- end -}}
