BEGIN TRANSACTION;
CREATE TABLE flow_versions (
	hash TEXT NOT NULL, 
	path TEXT NOT NULL, 
	flows TEXT NOT NULL, 
	PRIMARY KEY (hash)
);
INSERT INTO "flow_versions" VALUES('c32c7d945be1a19e875bddeacaf0964cad489e03c9f5009af4bb8de858aa2888','ok.yml','{"ok.yml": "every_seconds: 3600\nsteps:\n  - {name: a, type: jq, jq: {expression: ''[range(3)]''}}\n  - {name: b, type: set_fact, set_fact: {value: ''{{ a }}''}}\n"}');
INSERT INTO "flow_versions" VALUES('f4af398d1c2b788cb2b70838b8dba06b652db9160ffb78a037163afcefe83a9d','bad.yml','{"bad.yml": "steps:\n  - {name: a, type: jq, jq: {expression: ''.a.b'', data_key: nope}}\n"}');
INSERT INTO "flow_versions" VALUES('a9b99a100b35e7d6f4f9bcee853154e139dae59a2f0447c73af96c539d531ef4','loop.yml','{"loop.yml": "steps:\n  - {name: items, type: jq, jq: {expression: ''[range(5)]''}}\n  - {name: each, type: flow_loop, flow_loop: {path: ok.yml, data_key: items}}\n", "ok.yml": "every_seconds: 3600\nsteps:\n  - {name: a, type: jq, jq: {expression: ''[range(3)]''}}\n  - {name: b, type: set_fact, set_fact: {value: ''{{ a }}''}}\n"}');
INSERT INTO "flow_versions" VALUES('3730ea9020e9a3c960cfcde616d9bf590351d92e6200a07a22569cdad2d74b70','out.yml','{"out.yml": "steps:\n  - {name: e, type: exit, exit: {message: enough}}\n"}');
INSERT INTO "flow_versions" VALUES('dc526b75949b094b6906d68e4ed3338228ecb9ec0855625b7430823f6f0f52e4','skip.yml','{"skip.yml": "concurrency: {on_conflict: skip}\nsteps:\n  - {name: w, type: sleep, sleep: {seconds: 2}}\n"}');
INSERT INTO "flow_versions" VALUES('fc044b08ba2c9d73a2a274946292c37394caafe5b2acc3f907aa2fe25e3e1a9a','long.yml','{"long.yml": "concurrency: {on_conflict: queue}\nsteps:\n  - {name: first, type: set_fact, set_fact: {value: 1}}\n  - {name: w, type: sleep, sleep: {seconds: 1}}\n  - {name: last, type: set_fact, set_fact: {value: ''{{ first + 1 }}''}}\n"}');
CREATE TABLE journal (
	run_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	event TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	data TEXT, 
	PRIMARY KEY (run_id, seq)
);
INSERT INTO "journal" VALUES('20261121T105415012-cgfvxu6l',1000000000,'',0,'dispatched',1.7952584550175580978e+09,'{"worker": "e908d591", "pid": 29321}');
INSERT INTO "journal" VALUES('20261121T105415012-cgfvxu6l',1000000002,'a',1,'succeeded',1.79525845511270308501e+09,'{"result":[0,1,2],"started_at":1795258455.112471,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T105415012-cgfvxu6l',1000000004,'b',1,'succeeded',1.79525845511430311206e+09,'{"result":[0,1,2],"started_at":1795258455.112731,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T105415012-cgfvxu6l',1000000005,'',0,'ended',1.79525845511434793471e+09,'{"status":"succeeded","error":null}');
INSERT INTO "journal" VALUES('20261121T105415123-4dyhtaut',1000000000,'',0,'dispatched',1.79525845512508296962e+09,'{"worker": "e908d591", "pid": 29321}');
INSERT INTO "journal" VALUES('20261121T105415123-4dyhtaut',1000000002,'a',1,'failed',1.7952584551261439324e+09,'{"error":{"code":"data_key_missing","message":"data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__","details":{"data_key":"nope"}},"started_at":1795258455.125926,"then":"fail","errors":[{"step":"a","code":"data_key_missing","error":"data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__","details":{"data_key":"nope"}}]}');
INSERT INTO "journal" VALUES('20261121T105415123-4dyhtaut',1000000004,'',0,'ended',1.79525845512624096867e+09,'{"status":"failed","error":{"code":"data_key_missing","message":"data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__","details":{"data_key":"nope"},"step":"a"}}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000000,'',0,'dispatched',1.79525845514738392827e+09,'{"worker": "e908d591", "pid": 29321}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000002,'items',1,'succeeded',1.79525845514843106274e+09,'{"result":[0,1,2,3,4],"started_at":1795258455.148264,"key":"items"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000005,'each[1]/a',1,'succeeded',1.79525845514992809298e+09,'{"result":[0,1,2],"started_at":1795258455.149708,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000007,'each[1]/b',1,'succeeded',1.79525845515004801745e+09,'{"result":[0,1,2],"started_at":1795258455.149957,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000009,'each[2]/a',1,'succeeded',1.79525845515019106864e+09,'{"result":[0,1,2],"started_at":1795258455.150091,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000011,'each[2]/b',1,'succeeded',1.79525845515026211737e+09,'{"result":[0,1,2],"started_at":1795258455.150205,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000013,'each[3]/a',1,'succeeded',1.79525845515038394925e+09,'{"result":[0,1,2],"started_at":1795258455.150289,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000015,'each[3]/b',1,'succeeded',1.79525845515044903751e+09,'{"result":[0,1,2],"started_at":1795258455.150396,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000017,'each[4]/a',1,'succeeded',1.79525845515055608751e+09,'{"result":[0,1,2],"started_at":1795258455.150473,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000019,'each[4]/b',1,'succeeded',1.79525845515061903e+09,'{"result":[0,1,2],"started_at":1795258455.150567,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000021,'each[5]/a',1,'succeeded',1.79525845515072393415e+09,'{"result":[0,1,2],"started_at":1795258455.150646,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000023,'each[5]/b',1,'succeeded',1.79525845515078711503e+09,'{"result":[0,1,2],"started_at":1795258455.150736,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000024,'each',1,'succeeded',1.79525845515131211287e+09,'{"result":[{"__input__":0,"__errors__":[],"__loop_index__":1,"__flow_path__":"ok.yml","__timestamp__":"20261121105415","__run_id__":"20261121T105415145-xebfnhch","__job_id__":"20261121T105415145-xebfnhch","__api_url__":"http://127.0.0.1:48385","a":[0,1,2],"b":[0,1,2]},{"__input__":1,"__errors__":[],"__loop_index__":2,"__flow_path__":"ok.yml","__timestamp__":"20261121105415","__run_id__":"20261121T105415145-xebfnhch","__job_id__":"20261121T105415145-xebfnhch","__api_url__":"http://127.0.0.1:48385","a":[0,1,2],"b":[0,1,2]},{"__input__":2,"__errors__":[],"__loop_index__":3,"__flow_path__":"ok.yml","__timestamp__":"20261121105415","__run_id__":"20261121T105415145-xebfnhch","__job_id__":"20261121T105415145-xebfnhch","__api_url__":"http://127.0.0.1:48385","a":[0,1,2],"b":[0,1,2]},{"__input__":3,"__errors__":[],"__loop_index__":4,"__flow_path__":"ok.yml","__timestamp__":"20261121105415","__run_id__":"20261121T105415145-xebfnhch","__job_id__":"20261121T105415145-xebfnhch","__api_url__":"http://127.0.0.1:48385","a":[0,1,2],"b":[0,1,2]},{"__input__":4,"__errors__":[],"__loop_index__":5,"__flow_path__":"ok.yml","__timestamp__":"20261121105415","__run_id__":"20261121T105415145-xebfnhch","__job_id__":"20261121T105415145-xebfnhch","__api_url__":"http://127.0.0.1:48385","a":[0,1,2],"b":[0,1,2]}],"started_at":1795258455.148455,"key":"each"}');
INSERT INTO "journal" VALUES('20261121T105415145-xebfnhch',1000000025,'',0,'ended',1.79525845515134692192e+09,'{"status":"succeeded","error":null}');
INSERT INTO "journal" VALUES('20261121T105415166-k7mr4hwu',1000000000,'',0,'dispatched',1.79525845516809511191e+09,'{"worker": "e908d591", "pid": 29321}');
INSERT INTO "journal" VALUES('20261121T105415166-k7mr4hwu',1000000003,'e',1,'succeeded',1.79525845516898488992e+09,'{"result":"enough","started_at":1795258455.168863,"key":"e","control":{"exit":"enough"}}');
INSERT INTO "journal" VALUES('20261121T105415166-k7mr4hwu',1000000004,'',0,'ended',1.79525845516901898387e+09,'{"status":"exited","error":{"code":"exited","message":"enough","details":{}}}');
INSERT INTO "journal" VALUES('20261121T105415184-etglzh3p',1000000000,'',0,'dispatched',1.79525845518590688705e+09,'{"worker": "e908d591", "pid": 29321}');
INSERT INTO "journal" VALUES('20261121T105415184-etglzh3p',1900000001,'',0,'cancel_requested',1.79525845520304203027e+09,'{"reason": "the run was cancelled by api"}');
INSERT INTO "journal" VALUES('20261121T105415184-etglzh3p',1000000002,'w',1,'failed',1.79525845520351791384e+09,'{"error":{"code":"cancelled","message":"the run was cancelled by api","details":{}},"started_at":1795258455.186698,"then":"fail","errors":[{"step":"w","code":"cancelled","error":"the run was cancelled by api","details":{}}]}');
INSERT INTO "journal" VALUES('20261121T105415184-etglzh3p',1000000004,'',0,'ended',1.79525845520367193222e+09,'{"status":"cancelled","error":{"code":"cancelled","message":"the run was cancelled by api","details":{}}}');
INSERT INTO "journal" VALUES('20261121T105415210-aebofk5m',1000000000,'',0,'dispatched',1.79525845521288299555e+09,'{"worker": "e908d591", "pid": 29321}');
INSERT INTO "journal" VALUES('20261121T105415210-aebofk5m',1000000002,'first',1,'succeeded',1.79525845521377706522e+09,'{"result":1,"started_at":1795258455.213684,"key":"first"}');
INSERT INTO "journal" VALUES('20261121T105415210-aebofk5m',1000000003,'w',1,'started',1.79525845521379709239e+09,NULL);
CREATE TABLE logs (
	run_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	level TEXT NOT NULL, 
	step TEXT NOT NULL, 
	message TEXT NOT NULL, 
	PRIMARY KEY (run_id, seq)
);
INSERT INTO "logs" VALUES('20261121T105415123-4dyhtaut',1000000003,1.79525845512615394596e+09,'error','a','attempt 1 failed (fail): data_key_missing: data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__');
INSERT INTO "logs" VALUES('20261121T105415166-k7mr4hwu',1000000002,1.79525845516895389553e+09,'info','e','exit: enough');
INSERT INTO "logs" VALUES('20261121T105415184-etglzh3p',1000000003,1.79525845520353293416e+09,'error','w','attempt 1 failed (fail): cancelled: the run was cancelled by api');
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema_version','1');
CREATE TABLE runs (
	id TEXT NOT NULL, 
	flow TEXT NOT NULL, 
	flow_hash TEXT NOT NULL, 
	"trigger" TEXT NOT NULL, 
	trigger_by TEXT NOT NULL, 
	status TEXT NOT NULL, 
	input TEXT NOT NULL, 
	params TEXT, 
	timeout_seconds FLOAT, 
	created_at FLOAT NOT NULL, 
	started_at FLOAT, 
	ended_at FLOAT, 
	error TEXT, 
	schedule_id TEXT, 
	slot FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('20261121T105415012-cgfvxu6l','ok.yml','c32c7d945be1a19e875bddeacaf0964cad489e03c9f5009af4bb8de858aa2888','api','api','succeeded','null',NULL,NULL,1.79525845501244211196e+09,1.7952584550175580978e+09,1.79525845511434793471e+09,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T105415123-4dyhtaut','bad.yml','f4af398d1c2b788cb2b70838b8dba06b652db9160ffb78a037163afcefe83a9d','api','api','failed','null',NULL,NULL,1.7952584551232380867e+09,1.79525845512508296962e+09,1.79525845512624096867e+09,'{"code": "data_key_missing", "message": "data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__", "details": {"data_key": "nope"}, "step": "a"}',NULL,NULL);
INSERT INTO "runs" VALUES('20261121T105415145-xebfnhch','loop.yml','a9b99a100b35e7d6f4f9bcee853154e139dae59a2f0447c73af96c539d531ef4','api','api','succeeded','null',NULL,NULL,1.79525845514514589308e+09,1.79525845514738392827e+09,1.79525845515134692192e+09,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T105415166-k7mr4hwu','out.yml','3730ea9020e9a3c960cfcde616d9bf590351d92e6200a07a22569cdad2d74b70','api','api','exited','null',NULL,NULL,1.79525845516612601285e+09,1.79525845516809511191e+09,1.79525845516901898387e+09,'{"code": "exited", "message": "enough", "details": {}}',NULL,NULL);
INSERT INTO "runs" VALUES('20261121T105415184-etglzh3p','skip.yml','dc526b75949b094b6906d68e4ed3338228ecb9ec0855625b7430823f6f0f52e4','api','api','cancelled','null',NULL,NULL,1795258455.18402,1.79525845518590688705e+09,1.79525845520367193222e+09,'{"code": "cancelled", "message": "the run was cancelled by api", "details": {}}',NULL,NULL);
INSERT INTO "runs" VALUES('20261121T105415188-oqpayoaa','skip.yml','dc526b75949b094b6906d68e4ed3338228ecb9ec0855625b7430823f6f0f52e4','api','api','skipped','null',NULL,NULL,1.7952584551888821125e+09,NULL,1.7952584551888821125e+09,'{"code": "overlap", "message": "flow ''skip.yml'' is running (run 20261121T105415184-etglzh3p holds its lock)", "details": {}}',NULL,NULL);
INSERT INTO "runs" VALUES('20261121T105415210-aebofk5m','long.yml','fc044b08ba2c9d73a2a274946292c37394caafe5b2acc3f907aa2fe25e3e1a9a','api','api','running','null',NULL,NULL,1795258455.21031,1.79525845521288299555e+09,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T105415215-2ae3in3d','long.yml','fc044b08ba2c9d73a2a274946292c37394caafe5b2acc3f907aa2fe25e3e1a9a','api','api','queued','{"n": 2}',NULL,NULL,1.79525845521582698817e+09,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE schedules (
	id TEXT NOT NULL, 
	flow TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	rule TEXT, 
	timeout_seconds FLOAT, 
	active INTEGER NOT NULL, 
	added_at FLOAT NOT NULL, 
	anchor FLOAT, 
	last_slot FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (flow, origin)
);
INSERT INTO "schedules" VALUES('9340f09944a7','ok.yml','api','{"override": null, "in_force": {"every_seconds": 3600.0, "timezone": "UTC", "catchup": "latest", "catchup_max": 100}}',NULL,1,1.79525845519277310376e+09,1.79525845519277310376e+09,NULL);
CREATE TABLE slots (
	schedule_id TEXT NOT NULL, 
	slot FLOAT NOT NULL, 
	outcome TEXT NOT NULL, 
	run_id TEXT, 
	reason TEXT, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (schedule_id, slot)
);
CREATE INDEX runs_by_flow ON runs (flow, id);
CREATE INDEX runs_by_status ON runs (status, id);
COMMIT;
